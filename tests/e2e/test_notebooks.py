"""The notebooks run from their first cell to the last, and are committed without output."""

import json
import resource

import pytest

from support.paths import ROOT

BOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
MOST_SECONDS = 60.0


def test_notebooks_are_committed_without_output():
    """Three of them; outputs differ with every run, and would be in every commit."""
    assert [path.stem for path in BOOKS] == ["audit", "first-federation", "private-federation"]
    for path in BOOKS:
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    """In less than a minute of processor time, without a network, in an empty folder."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("SECUREFL_HOME", str(tmp_path / "home"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    book = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=900, kernel_name="python3", resources=place).execute()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < MOST_SECONDS, f"{seconds:.1f} s of processor time"
