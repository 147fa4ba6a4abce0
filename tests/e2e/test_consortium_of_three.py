"""The page from nothing to the second run, and the short pages after it, carried out."""

import json
import re
import shutil

import numpy as np
import pytest

from securefl.audit.export import audit_run
from securefl.federation.runs.agreement import read_run
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.services.status import read_status
from securefl.ml.tensor_io import read_tensors
from securefl.ml.vectors import ORDER
from support.pages import Walk, script
from support.paths import DOCS
from support.tokens import softhsm_module

PAGE = "tutorials/consortium-of-three.md"
FIRST = {"data example"}
"""What a page begins with; no command comes before it."""


@pytest.fixture(scope="module")
def agreed(tmp_path_factory):
    """Where the short pages begin, and a copy of it."""
    walk = Walk(tmp_path_factory.mktemp("agreed") / "all")
    walk.begin()
    shutil.copytree(walk.folder, walk.folder.with_name("copy"))
    return walk


@pytest.fixture
def at_work(agreed):
    """The folder as it was, at the same place: the broker's configuration has it in it."""
    shutil.rmtree(agreed.folder)
    shutil.copytree(agreed.folder.with_name("copy"), agreed.folder)
    return agreed


@pytest.mark.slow
def test_the_page_leads_from_nothing_to_the_second_run(tmp_path):
    """And each command has been named by one that was carried out before it."""
    walk = Walk(tmp_path)
    walk.carry_out(PAGE)
    lists = [(tmp_path / "north" / name).read_text() for name in ("lists.csv", "lists-2.csv")]
    assert all(text.startswith("customer,rank,product") for text in lists)
    assert all(text.count("\n") > 100 for text in lists)
    first, second = (RunDirectory.open(tmp_path / "hub" / f"run-{n}") for n in (1, 2))
    assert first.config.start is None
    assert second.config.start.model in (tmp_path / "agreement-2.toml").read_text()
    assert audit_run(second.path).verdict != "fail"
    said = walk.said()
    for place, command in enumerate(said):
        before = "".join(one.out for one in said[:place])
        assert command.verb in FIRST or f"securefl {command.verb}" in before, command.verb


@pytest.mark.slow
def test_runs_in_a_row_follow_without_hands(at_work):
    """Two runs of a schedule: each over its own days, and the second from the first one's model."""
    at_work.carry_out("howto/weekly-runs.md")
    runs = [RunDirectory.open(at_work.folder / "hub" / "weekly" / name) for name in "12"]
    assert [str(run.config.data.period[1]) for run in runs] == ["2025-03-02", "2025-03-09"]
    ended, about = read_tensors(runs[0].model_path)
    begun = np.concatenate([ended[name].numpy().ravel() for name in json.loads(about[ORDER])])
    assert runs[1].start_path.read_bytes() == begun.astype("<f4").tobytes()
    assert len({read_run(run) for run in runs}) == 2
    assert [audit_run(run.path).verdict != "fail" for run in runs] == [True, True]
    assert len(list((at_work.folder / "west" / "state").glob("*/model"))) == 2


@pytest.mark.slow
def test_a_member_joins_and_leaves(at_work):
    """A run of four; then the one that left has no way to the broker any more."""
    at_work.carry_out("howto/joining.md")
    assert len(read_status(at_work.folder / "hub" / "run-of-four")["members"]) == 4
    out = at_work.carry_out("howto/leaving.md")
    assert "FAIL  key and facts: the key is neither" in out


@pytest.mark.slow
@pytest.mark.parametrize("page", ["lost-key", "new-certificate", "upgrade"])
def test_short_pages_without_a_run(at_work, page):
    out = at_work.carry_out(f"howto/{page}.md")
    assert "ok    connection: logged in as" in out


@pytest.mark.slow
@pytest.mark.parametrize("page", ["lost-disk", "broken-broker"])
def test_runs_end_although_a_disk_is_lost(at_work, page):
    at_work.carry_out(f"howto/{page}.md")
    status = read_status(at_work.folder / "hub" / "run-1")
    assert (status["state"], status["round"]) == ("over", 2)


@pytest.mark.slow
def test_a_member_takes_part_with_a_key_in_a_token(at_work):
    if softhsm_module() not in script("howto/key-in-a-token.md"):
        pytest.skip("SoftHSM is at another place here than on the page")
    at_work.carry_out("howto/key-in-a-token.md")
    run = at_work.folder / "hub" / "run-1"
    assert len(RunDirectory.open(run).result().members) == 3
    assert audit_run(run).verdict != "fail"


def test_short_pages_begin_where_the_long_one_is():
    """Each is linked from the long page, says where it begins, and has commands."""
    linked = re.findall(r"\(\.\./howto/([^)#]+)\)", (DOCS / PAGE).read_text(encoding="utf-8"))
    beginning = "You are in the folder of"
    pages = sorted((DOCS / "howto").glob("*.md"))
    short = {path.name for path in pages if beginning in path.read_text(encoding="utf-8")}
    assert len(short) >= 10
    assert short <= set(linked)
    for name in short:
        assert "securefl " in script(f"howto/{name}"), name
