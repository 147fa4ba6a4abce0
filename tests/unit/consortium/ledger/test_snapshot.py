"""Ledgers that are only read: from an archive nobody can write in, and beside one who writes."""

import os
import shutil
import tempfile

import pytest

from securefl.consortium.ledger import snapshot
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger
from securefl.consortium.ledger.sqlite import DatabaseError
from support.closing import closed_later

FILE = "x.sqlite"


def seen(folder):
    """All that changes if somebody writes in a folder."""
    paths = (folder, *sorted(folder.iterdir()))
    return [(path.name, path.stat().st_mtime_ns, path.stat().st_mode) for path in paths]


def labels(path):
    ledger = closed_later(PrivacyLedger(path, reading=True))
    return [one.label for one in ledger.data_sets()]


@pytest.fixture
def written(tmp_path):
    """A ledger with one data set, still open."""
    book = closed_later(PrivacyLedger(tmp_path / FILE))
    with book.transaction():
        book.data_set("ab", None, "tables")
    return book


def test_reading_writes_nothing(written, tmp_path):
    """Neither beside one who writes, whose log holds all of it, nor after them."""
    assert (tmp_path / f"{FILE}-wal").stat().st_size
    for _ in range(2):
        before = seen(tmp_path)
        assert labels(tmp_path / FILE) == ["tables"]
        assert seen(tmp_path) == before
        written.close()
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("killed", [False, True])
def test_an_archive_that_cannot_be_written_is_read(killed, written, tmp_path, monkeypatch):
    """Also of a party that was killed, with its log and without the index of that."""
    archive, user = tmp_path / "archive", os.geteuid()
    archive.mkdir()
    if not killed:
        written.close()
    for path in tmp_path.glob(f"{FILE}*"):
        if not path.name.endswith("-shm"):
            shutil.copy(path, archive)
            (archive / path.name).chmod(0o444)
    archive.chmod(0o555)
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")  # where every user may write
    monkeypatch.chdir(archive)  # whose name another user may not look up
    if user == 0:
        os.seteuid(65534)
    try:
        assert labels(archive.relative_to(archive) / FILE) == ["tables"]
    finally:
        os.seteuid(user)


def test_a_log_that_begins_anew_in_the_middle_is_read_once_more(written, tmp_path, monkeypatch):
    """A checkpoint between the copies of the file and of its log, which then lacks the charge."""
    read = snapshot.read_bytes

    def restarts(path, *values, **named):
        found = read(path, *values, **named)
        if path.suffix == ".sqlite":
            monkeypatch.setattr(snapshot, "read_bytes", read)
            written.rows("PRAGMA wal_checkpoint(RESTART)")
            with written.transaction():
                written.data_set("cd", None, "other tables")
        return found

    monkeypatch.setattr(snapshot, "read_bytes", restarts)
    assert labels(tmp_path / FILE) == ["tables", "other tables"]


def test_a_file_that_never_holds_still_is_refused(written, tmp_path, monkeypatch):
    states = iter(range(100))
    monkeypatch.setattr(snapshot, "_state", lambda *_: next(states))
    with pytest.raises(DatabaseError, match="being written all the time"):
        labels(tmp_path / FILE)


def test_what_is_missing_or_damaged_is_named_and_not_made(tmp_path):
    with pytest.raises(DatabaseError, match=r"none\.sqlite does not exist"):
        labels(tmp_path / "none.sqlite")
    (tmp_path / FILE).write_bytes(os.urandom(4096))
    with pytest.raises(DatabaseError, match=rf"{tmp_path / FILE}.*not a database"):
        labels(tmp_path / FILE)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
