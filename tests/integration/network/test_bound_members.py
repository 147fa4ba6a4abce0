"""A member of a network that starts again: with the data that the run began with, or not at all."""

from types import SimpleNamespace

import pandas as pd
import pytest

from securefl.config.load import load_config
from securefl.federation.runs.bound_data import DataChangedError
from securefl.federation.services.member import MemberPaths
from securefl.federation.services.member_input import member_spec
from securefl.federation.services.public_facts import make_facts
from securefl_cli.main import _explain
from support.small_runs import purchases_in


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    """Retailers' files, the configuration over them, and the facts that all agreed on."""
    folder = tmp_path_factory.mktemp("office")
    config = load_config(None, purchases_in(folder))
    return folder, config, make_facts(config, folder / "agreed.facts")


@pytest.fixture
def start(office, tmp_path):
    """Start the member north, as its service does before it connects."""
    folder, config, facts = office
    key = SimpleNamespace(private_bytes=lambda: bytes(32))
    own = {"name": "north", "config": config, "facts": facts, "key": key}
    context = SimpleNamespace(**own, consortium=None, number=1, before=None)
    paths = MemberPaths(tmp_path / "state", tmp_path / "books", None, folder)

    def make():
        return member_spec(context, paths, tmp_path / "state" / "run", None, None)

    return make


@pytest.fixture
def lines(office):
    """The member's file, as it was at the end."""
    path = office[0] / "north.csv"
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


CHANGES = {
    "a line dropped": lambda rows: rows.iloc[:-1],
    "a price": lambda rows: rows.assign(value=rows["value"].where(rows.index != 5, 9.5)),
    "a customer renamed": lambda rows: rows.replace({"customer": {3: 77}}),
    "a line more": lambda rows: pd.concat([rows, rows.tail(1).assign(product=101)]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_member_refuses_other_data_on_restart(start, lines, change):
    """By the table's name, before it connects; with its own data again it goes on."""
    digest = start().custody.digest
    content = lines.read_bytes()
    CHANGES[change](pd.read_csv(lines)).to_csv(lines, index=False)
    with pytest.raises(DataChangedError, match=r"this member's data changed.*transactions differ"):
        start()
    lines.write_bytes(content)
    assert start().custody.digest == digest


def test_the_record_of_data_is_the_members_own(start, tmp_path):
    """A guess at the tables could be checked by it."""
    start()
    assert ((tmp_path / "state" / "run" / "data.json").stat().st_mode & 0o777) == 0o600


def test_other_data_end_the_command_with_one_line(start, lines):
    """Exit code 2, which no service restarts from; not 70, which is a bug."""
    start()
    CHANGES["a price"](pd.read_csv(lines)).to_csv(lines, index=False)
    with pytest.raises(DataChangedError) as raised:
        start()
    line, code = _explain(raised.value)
    assert code == 2
    assert "this member's data changed" in line
    assert "\n" not in line
