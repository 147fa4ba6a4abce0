"""What is published: wheel and sdist, in empty environments, and the sdist with its own tests."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

from support.paths import ROOT

pytestmark = pytest.mark.slow
ENTRIES = ("securefl/__main__.py", "securefl/py.typed", "securefl_cli/main.py", "LICENSE")
OWN_TESTS = (
    *("tests/test_glossary.py", "tests/test_architecture_page.py", "tests/unit/config"),
    *("tests/unit/test_locks.py", "tests/unit/test_portable_code.py", "tests/unit/test_changes.py"),
    *("tests/unit/test_format_names.py", "tests/protocols/test_vectors_sessions.py"),
    *(
        "tests/e2e/test_documents.py",
        "tests/e2e/test_docs.py",
        "tests/integration/cli/test_help.py",
    ),
)
"""Of documents, locks, formats, protocols and command line: a part of each."""
CARRIED = ("docs/index.md", "mkdocs.yml", "website/hooks.py", "locks/cpu.txt", "Makefile")


def run(*words, cwd=None, path=()):
    """A program's output, with nothing of this tree on its path, or what is given first."""
    place = {"PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(  # noqa: PLW1510 - the code is asserted, with what was said
        [str(word) for word in words],
        cwd=cwd,
        env=os.environ | place,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and sdist of this tree."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", out, cwd=ROOT)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """Makes an environment that has the locked packages of this one, and no securefl."""

    def make(name):
        folder = tmp_path_factory.mktemp(name) / "venv"
        venv.create(folder, with_pip=True)
        site = next(folder.glob("lib/python*/site-packages"))
        ours = next(p for p in sys.path if p.endswith("site-packages"))
        (site / "borrowed.pth").write_text(f"{ours}\n")
        return folder / "bin" / "python"

    return make


def test_wheel_has_all_and_nothing_else(built):
    """The packages, their data and the licence; no tests, no documents."""
    names = zipfile.ZipFile(built[0]).namelist()
    for entry in ENTRIES:
        assert any(name.endswith(entry) for name in names), entry
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        *("securefl", "securefl_cli", "securefl_protocols"),
    }


def test_wheel_runs_in_an_empty_environment(built, empty, tmp_path):
    """From the file alone, outside of the tree."""
    python = empty("wheel")
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", "--force-reinstall", built[0])
    where = "import securefl_cli; print(securefl_cli.__file__)"
    assert str(python.parent.parent) in run(python, "-c", where, cwd=tmp_path)
    listed = run(python, "-m", "securefl", "demo", "--list", cwd=tmp_path)
    assert listed.startswith("securefl run")
    (tmp_path / "run.toml").write_text(
        'task = "recommendation"\nrounds = 1\n[data]\nsource = "tutorial"\ncustomers = 60\n'
        'items = 40\ninteractions = [300, 600]\n[model]\nname = "rating-ncf"\n'
    )
    run(python, "-m", "securefl", "run", "run.toml", "--out", "run", "--quiet", cwd=tmp_path)
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_sdist_tests_itself(built, tmp_path):
    """Its tests of documents, locks and packages find everything that they name."""
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    for carried in CARRIED:
        assert (tree / carried).is_file(), carried
    packages = [tree, tree / "protocols", tree / "cli"]  # before the checkout's own
    where = "import securefl, securefl_cli, securefl_protocols as p; print(securefl.__file__,"
    where += " securefl_cli.__file__, p.__file__)"
    found = run(sys.executable, "-c", where, cwd=tmp_path, path=packages).split()
    assert all(file.startswith(f"{tree}{os.sep}") for file in found), found
    words = ("-q", "-n", "0", "-p", "no:cacheprovider", "-m", "not slow", *OWN_TESTS)
    run(sys.executable, "-m", "pytest", *words, cwd=tree, path=packages)
