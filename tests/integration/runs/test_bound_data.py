"""A run is bound to its data: going on, evaluating and starting warm notice other tables."""

import json
import random
from contextlib import suppress

import pandas as pd
import pytest

import securefl
from securefl.federation.runs.bound_data import DataChangedError
from securefl.federation.runs.progress import Silent

CHANGES = {
    "a customer renamed": ("north.csv", lambda rows: rows.replace({"customer": {"c1": "c99"}})),
    "rows dropped": ("north.csv", lambda rows: rows.iloc[:-3]),
    "the catalogue in another order": ("catalogue.csv", lambda rows: rows.iloc[::-1]),
    "a product added": (
        "catalogue.csv",
        lambda rows: pd.concat([rows, rows.iloc[:1].assign(product="p999")]),
    ),
}


class _Stopped(Exception):
    pass


class _StopAfter(Silent):
    def __init__(self, rounds):
        self._left = rounds

    def round(self, record):
        del record
        self._left -= 1
        if not self._left:
            raise _Stopped


@pytest.fixture
def own_files(tmp_path):
    """Three members' files, and the run configuration over them."""
    folder = tmp_path / "data"
    folder.mkdir()
    products = [f"p{number}" for number in range(12)]
    pd.DataFrame(
        {"product": products, "department": ["food", "drink"] * 6, "category": ["a", "b", "c"] * 4}
    ).to_csv(folder / "catalogue.csv", index=False)
    for place, name in enumerate(("north", "south", "west")):
        days = pd.date_range("2024-01-01", periods=60, freq="D")
        draws = random.Random(place)
        rows = [
            (f"c{customer}", draws.choice(products), days[day], 1, 2.5)
            for customer in range(20)
            for day in range(customer % 3, 60, 4)
        ]
        columns = ["customer", "product", "time", "quantity", "value"]
        pd.DataFrame(rows, columns=columns).to_csv(folder / f"{name}.csv", index=False)
    (folder / "run.toml").write_text(
        'task = "recommendation"\nrounds = 3\n'
        '[data]\nsource = "files"\ncatalogue = "catalogue.csv"\n'
        + "".join(
            f'[[data.members]]\nname = "{name}"\ntransactions = "{name}.csv"\n'
            for name in ("north", "south", "west")
        )
        + "[recommendation]\nmin_households = 1\nmin_products = 3\nnegatives = 5\n"
        "[references]\nenabled = false\n[engine]\nworkers = 1\n"
    )
    return folder


def _run(folder, out, **options):
    return securefl.run(securefl.configure(folder / "run.toml", **options), out=out)


def _interrupted(folder, out):
    config = securefl.configure(folder / "run.toml")
    with suppress(_Stopped):
        securefl.run(config, out=out, progress=_StopAfter(2))
    assert not (out / "result.json").exists()


def _change(folder, what):
    name, change = CHANGES[what]
    path = folder / name
    change(pd.read_csv(path, dtype=str)).to_csv(path, index=False)


@pytest.mark.parametrize("what", CHANGES)
def test_going_on_with_other_data_is_refused(own_files, tmp_path, what):
    """It names whose table changed, and with the files restored the run goes on."""
    _interrupted(own_files, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in own_files.iterdir()}
    _change(own_files, what)
    whose = (
        "north: transactions" if CHANGES[what][0] == "north.csv" else "the agreed data: products"
    )
    with pytest.raises(DataChangedError, match=whose):
        securefl.resume(tmp_path / "run")
    for name, content in before.items():
        (own_files / name).write_bytes(content)
    assert securefl.resume(tmp_path / "run").rounds == 3


@pytest.mark.parametrize("what", ["rows dropped", "the catalogue in another order"])
def test_evaluating_on_other_data_is_refused(own_files, tmp_path, what):
    """A row of the model would stand for another product, without a word."""
    _run(own_files, tmp_path / "run", rounds=1)
    assert securefl.evaluate(tmp_path / "run").overall
    _change(own_files, what)
    with pytest.raises(DataChangedError):
        securefl.evaluate(tmp_path / "run")


def test_a_warm_start_on_another_catalogue_is_refused(own_files, tmp_path):
    """More of the same members' sales is what a warm start is for; another catalogue is not."""
    _run(own_files, tmp_path / "first", rounds=1)
    warm = {"warm_start": str(tmp_path / "first" / "model.safetensors")}
    _change(own_files, "rows dropped")
    assert _run(own_files, tmp_path / "second", **warm, rounds=1).rounds == 1
    _change(own_files, "the catalogue in another order")
    with pytest.raises(DataChangedError, match="other products or another order"):
        _run(own_files, tmp_path / "third", **warm, rounds=1)


def test_digests_are_the_members_own(own_files, tmp_path):
    """Who guesses a member's tables could check the guess by their digest."""
    _run(own_files, tmp_path / "run", rounds=1)
    path = tmp_path / "run" / "members" / "north" / "data.json"
    assert path.stat().st_mode & 0o777 == 0o600
    digest = json.loads(path.read_text())["transactions"]
    shared = [one for one in (tmp_path / "run").glob("*") if one.is_file()]
    assert shared
    assert not [one for one in shared if digest.encode() in one.read_bytes()]
