"""For all tests: examples are not timed, for machines are shared; no book of ours is touched.

Fixtures import what takes long themselves: pytest reads this file once more than it has workers,
and before they start.
"""

import logging
from itertools import count

import pytest
from hypothesis import settings

from securefl.config.load import load_config, merge
from securefl.consortium.ledger import sqlite
from support.closing import WatchedConnection, close_all
from support.command_line import command_line
from support.named_keys import NAMES, key_of
from support.small_runs import SMALL_DEMAND, SMALL_RATINGS, purchases_in

pytest_plugins = ["support.quick_tests"]
settings.register_profile("securefl", deadline=None)
settings.load_profile("securefl")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    import torch

    torch.set_num_threads(1)
    # pytest hangs three handlers on each logger that does not propagate, in every test; torch has
    # dozens of them.
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.startswith("torch.") and isinstance(logger, logging.Logger):
            logger.propagate = True


@pytest.fixture(autouse=True, scope="session")
def watched_databases():
    """Databases that nobody closes are errors that name their test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "Connection", WatchedConnection)
        yield


@pytest.fixture(autouse=True, scope="session")
def homes(tmp_path_factory):
    """Places for books, one each; whole modules' fixtures have none in the user's folder either.

    They are made when a book is: a folder for each of thousands of tests costs a minute.
    """
    base = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECUREFL_HOME", str(base / "shared"))
        yield (base / str(number) for number in count())


@pytest.fixture(autouse=True)
def nothing_open():
    """Members that a test made are closed when it ends."""
    yield
    close_all()


@pytest.fixture(autouse=True)
def books(homes, monkeypatch):
    """Each test has books of its own: a member's book outlives its runs."""
    home = next(homes)
    monkeypatch.setenv("SECUREFL_HOME", str(home))
    return home / "books"


@pytest.fixture(scope="session")
def purchases(tmp_path_factory):
    """Four retailers' own files, generated; the configuration of a ranking run on them."""
    return purchases_in(tmp_path_factory.mktemp("purchases"))


@pytest.fixture
def small_config(purchases):
    """Makes the configuration of a small run of a kind, changed as wanted."""
    kinds = {"demand": SMALL_DEMAND, "ratings": SMALL_RATINGS, "purchases": purchases}

    def make(kind="demand", **changes):
        return load_config(None, merge(kinds[kind], changes))

    return make


@pytest.fixture
def small_run(tmp_path, small_config):
    """Makes a small run; returns its result and its directory."""
    from securefl.federation.runs.directory import RunDirectory
    from securefl.federation.runs.run import run

    def make(name="run", kind="demand", **changes):
        directory = RunDirectory.create(tmp_path / name, small_config(kind, **changes))
        return run(directory), directory

    return make


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(here, capsys):
    """Calls the command line in an empty working directory."""
    return command_line(capsys)


@pytest.fixture(scope="session")
def new_key():
    """A key by name and generation; the same every time."""
    return key_of


@pytest.fixture(scope="session")
def keys():
    """The identity keys of five companies."""
    return {name: key_of(name) for name in NAMES}
