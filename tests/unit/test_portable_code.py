"""Simulations, predictions and audits run where there is no POSIX: Windows has no `fcntl`."""

import ast
import os
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest

from securefl.untrusted import ownership
from support.paths import ROOT

POSIX_ONLY = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
"""Modules of the standard library that Windows lacks."""
POSIX_NAMES = {
    *("O_NONBLOCK", "fork", "geteuid", "getegid", "getgid", "getgroups", "getuid", "killpg"),
    *("mkfifo", "setsid", "sysconf", "SIGALRM", "SIGHUP", "SIGKILL"),
}
"""Attributes of `os` and `signal` that Windows lacks."""
GUARDED = {
    "securefl/untrusted/ownership.py",
    "securefl/audit/bundle/time_limit.py",
    "securefl/data/sources/files/engine.py",
}
"""Files that ask first whether the platform has them."""
SOURCES = [
    path
    for folder in ("securefl", "protocols/securefl_protocols", "cli/securefl_cli")
    for path in (ROOT / folder).rglob("*.py")
]
FILE = SimpleNamespace(st_uid=12345, st_mode=stat.S_IFREG | 0o666)


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


def posix_names(tree):
    for node in ast.walk(tree):
        known = isinstance(node, ast.Attribute) and node.attr in POSIX_NAMES
        if known and ast.unparse(node.value) in {"os", "signal"}:
            yield node.attr


def test_no_shipped_module_needs_posix():
    """No import of a module, and no use of a name, that Windows lacks."""
    for path in SOURCES:
        name, tree = path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))
        assert not POSIX_ONLY & set(imported(tree)), name
        assert name in GUARDED or not set(posix_names(tree)), name


@pytest.mark.parametrize("name", sorted(GUARDED))
def test_guarded_module_asks_the_platform(name):
    """So that an entry of the list cannot stay when its reason has gone."""
    source = (ROOT / name).read_text("utf-8")
    assert set(posix_names(ast.parse(source)))
    assert "hasattr(" in source


@pytest.fixture
def no_owners(monkeypatch):
    for name in ("geteuid", "getegid", "getgroups"):
        monkeypatch.delattr(os, name)


def test_owner_of_a_file_on_windows(no_owners):
    """There `st_uid` is 0 and the mode says nothing: the access list decides."""
    assert not ownership.is_foreign(FILE)
    assert not ownership.is_open_to_others(FILE)
    assert ownership.own_groups() == set()


def test_owner_of_a_file_on_posix():
    assert ownership.is_foreign(FILE)
    assert ownership.is_open_to_others(FILE)
    assert not ownership.is_open_to_others(SimpleNamespace(st_mode=stat.S_IFREG | 0o600))


def test_secret_on_windows_gets_an_access_list(no_owners, monkeypatch, tmp_path):
    """One entry, of the owner, and none that is inherited."""
    ran = []
    monkeypatch.setattr(ownership.subprocess, "run", lambda words, **_: ran.append(words))
    ownership.keep_to_owner(tmp_path / "key")
    assert ran == [
        ["icacls", str(tmp_path / "key"), "/inheritance:r", "/grant:r", "*S-1-3-4:F"],
    ]


def test_access_list_that_cannot_be_set(no_owners, monkeypatch, tmp_path):
    """A secret that others could read is not written."""

    def refuse(words, **_):
        raise subprocess.CalledProcessError(5, words)

    monkeypatch.setattr(ownership.subprocess, "run", refuse)
    with pytest.raises(PermissionError, match="access list"):
        ownership.keep_to_owner(tmp_path / "key")


WITHOUT_POSIX = """
import importlib, pkgutil, sys
import torch  # its own modules may look for what the platform has
hidden = sys.argv[1].split(",")
for name in hidden:
    sys.modules[name] = None
import securefl, securefl_cli, securefl_protocols
count = 0
for package in (securefl, securefl_cli, securefl_protocols):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                if error.name != "flwr":  # an environment of its own has it
                    raise
            count += 1
print(count)
"""


@pytest.mark.slow
def test_everything_is_imported_without_posix():
    """Each module of the three packages, in a process that has no `fcntl` and its like."""
    words = [sys.executable, "-c", WITHOUT_POSIX, ",".join(sorted(POSIX_ONLY - {"posix"}))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > len(SOURCES) / 2
