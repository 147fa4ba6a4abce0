"""Rules of the house that no linter has: late imports, long files, small files.

`LATE`, `LONG` and `SMALL` say what breaks a rule today. They may only shrink: a test fails on what
is not listed, and on what is listed for nothing.
"""

import sys
from importlib import import_module

import pytest

from support.paths import ROOT

ALLOWED = {
    "securefl/__init__.py",  # the public names, so that `import securefl` does not wait for torch
    "securefl/config/task_registry.py",  # plugins
    "cli/securefl_cli/group.py",  # a command's module is imported when it is called
}
LATE: dict[str, int] = {}
"""File to how often it calls `import_module`, which no linter and no reader can follow."""

LONGEST = 350
LONG: dict[str, int] = {}
"""File to its lines, where they are more than `LONGEST`."""

SMALL = 11
"""How many small files have one importer; lower it when one is merged."""


@pytest.fixture(scope="module")
def figures():
    """Of the benchmarks of this checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        patch.delitem(sys.modules, "source_figures", raising=False)
        yield import_module("source_figures")


@pytest.fixture(scope="module")
def files(figures):
    """Every file of the three packages."""
    found = [source for part in figures.PARTS for source in figures.sources(ROOT, part)]
    assert len(found) > 100
    return found


def test_import_module_outside_its_places(figures, files):
    """A module is imported by a statement, which linters see; the exceptions may only shrink."""
    calls = {source.path.as_posix(): len(figures.late_imports(source)) for source in files}
    found = {path: count for path, count in calls.items() if count and path not in ALLOWED}
    assert found == LATE


def test_files_longer_than_agreed(files):
    """No file grows beyond `LONGEST` lines, and those that did are not to grow further."""
    found = {s.path.as_posix(): s.lines for s in files if s.lines > LONGEST}
    assert found.keys() == LONG.keys()
    assert {path: lines for path, lines in found.items() if lines > LONG[path]} == {}


def test_small_files_with_one_importer(figures, files):
    """They belong into their importer."""
    found = figures.small_with_one_importer(files)
    listed = "\n".join(f"{path} <- {importer}" for path, importer in found)
    assert len(found) == SMALL, f"small files with one importer:\n{listed}"
