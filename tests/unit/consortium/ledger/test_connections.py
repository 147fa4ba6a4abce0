"""Connections to SQLite files are closed, also where a file turns out to be unusable."""

import ast
import gc
import os
import sqlite3
import warnings
from contextlib import closing

import pytest

from securefl.consortium.ledger import sqlite as sqlite_files
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger
from securefl.errors import InputError, RunDirectoryError
from securefl.federation.member.journal import MemberJournal
from securefl.federation.transport.nats.journal import CoordinatorJournal
from securefl.federation.transport.session_keys import RunKeys
from securefl_protocols.primitives.signing import SigningKey
from support.paths import ROOT

KEY = SigningKey(bytes(range(32)))
OPENED = {
    "ledger": (lambda d: PrivacyLedger(d / "x.sqlite"), "x.sqlite"),
    "member": (lambda d: MemberJournal(d, KEY.private_bytes(), bytes(32)), "journal.sqlite"),
    "coordinator": (CoordinatorJournal, "coordinator.sqlite"),
    "keys": (lambda d: RunKeys(d, KEY, bytes(32), "north"), "run-keys.sqlite"),
}


@pytest.fixture
def opened(monkeypatch):
    """Every connection that is made, whether somebody holds it or not."""
    found, connect = [], sqlite3.connect

    def kept(*args, **kwargs):
        found.append(connect(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(sqlite3, "connect", kept)
    return found


def is_open(connection):
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


@pytest.mark.parametrize("name", OPENED)
def test_a_file_that_cannot_be_used_is_closed(name, tmp_path, opened):
    """Garbage in the place of a database."""
    make, file = OPENED[name]
    (tmp_path / file).write_bytes(os.urandom(4096))
    with pytest.raises((InputError, RunDirectoryError)):
        make(tmp_path)
    assert opened
    assert not any(map(is_open, opened))


def test_a_file_of_another_version_or_key_is_closed(tmp_path, opened):
    """What is noticed only after the file was opened."""
    path = tmp_path / "x.sqlite"
    PrivacyLedger(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(InputError, match="version 9"):
        PrivacyLedger(path)
    RunKeys(tmp_path, KEY, bytes(32), "north").close()
    with pytest.raises(RunDirectoryError, match="of another key"):
        RunKeys(tmp_path, SigningKey(bytes(32)), bytes(32), "north")
    assert len(opened) == 5
    assert not any(map(is_open, opened))


def test_charges_of_one_run_need_no_numbered_places(tmp_path):
    """Numbered places with a sequence are deprecated from Python 3.12 on."""
    with warnings.catch_warnings(action="error"):
        book = PrivacyLedger(tmp_path / "x.sqlite")
        assert book.charged(1) == book.charged(1, "ab") == []
        book.close()
        gc.collect()


def test_no_statement_has_numbered_places():
    """In any string of the product that is handed to SQLite."""
    words = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ")
    for folder in ("securefl", "cli", "protocols"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    text = node.value
                    if text.startswith(words):
                        assert not any(f"?{n}" in text for n in range(10)), path


def test_connections_are_opened_in_one_place():
    """So that none is left open where another is closed.

    The other place reads a retailer's own database, without ever writing, and closes it at once.
    """
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "securefl").rglob("*.py")
        if "sqlite3.connect(" in path.read_text("utf-8")
    }
    own = "securefl/data/sources/files/databases.py"
    assert found == {"securefl/consortium/ledger/sqlite.py", own}
    read_once = "with closing(sqlite3.connect(uri, uri=True))"
    assert (ROOT / own).read_text("utf-8").count(read_once) == 1


def forget_database(path):
    sqlite_files.connect(path)
    gc.collect()  # its cache of statements refers to it


def test_a_database_that_a_test_leaves_open_names_the_test(tmp_path):
    with pytest.warns(ResourceWarning, match="names_the_test .* left a database open"):
        forget_database(tmp_path / "x.sqlite")


class Stuck(sqlite_files.Connection):
    """A connection whose disk takes the statements that it is not to refuse."""

    refused = ()

    def execute(self, statement, *values):
        if statement in self.refused:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(statement, *values)


@pytest.mark.parametrize("refused", [("COMMIT",), ("COMMIT", "ROLLBACK")])
def test_a_transaction_that_a_disk_left_open_is_undone_before_the_next(tmp_path, refused):
    """In a ledger, which notes with less than a flush, and puts that back with the rollback."""
    book = PrivacyLedger(tmp_path / "x.sqlite")
    book.insert("CREATE TABLE noted (number INTEGER)")
    book._connection.__class__, book._connection.refused = Stuck, refused
    with pytest.raises(InputError, match="disk I/O error"), book.noting():
        book.insert("INSERT INTO noted VALUES (1)")
    assert book._connection.left_open == ("ROLLBACK" in refused)
    book._connection.refused = ()
    with book.transaction():
        book.insert("INSERT INTO noted VALUES (2)")
        assert book.rows("PRAGMA synchronous") == [(2,)]
    assert book.rows("SELECT number FROM noted") == [(2,)]
    book.close()
