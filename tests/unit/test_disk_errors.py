"""A write that failed: what is waited for, and what ends a party with one line, over all errnos."""

import errno
import os
import sqlite3

import pytest

from securefl.consortium.ledger.journal_fence import JournalFence
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.errors import StorageFullError, UnwritableError, UnwrittenError, disk_error
from securefl.federation import messages as m
from securefl.federation.services import durable_writes
from securefl.federation.services.durable_writes import insist
from securefl.ml.tensor_io import write_atomically
from securefl_cli.main import _explain
from support.member_in_process import RUN, ProcessParty

WAITED_FOR = {
    errno.ENOSPC: StorageFullError,
    errno.EDQUOT: StorageFullError,
    errno.EIO: UnwrittenError,
    errno.EFBIG: UnwrittenError,
    errno.ETIMEDOUT: UnwrittenError,
}
SQLITE = {
    sqlite3.SQLITE_FULL: StorageFullError,
    sqlite3.SQLITE_BUSY: UnwrittenError,
    sqlite3.SQLITE_IOERR: UnwrittenError,
    sqlite3.SQLITE_IOERR_WRITE: UnwrittenError,
    sqlite3.SQLITE_READONLY: UnwritableError,
    sqlite3.SQLITE_CANTOPEN: UnwritableError,
    sqlite3.SQLITE_PERM: UnwritableError,
    sqlite3.SQLITE_CORRUPT: sqlite3.OperationalError,
    sqlite3.SQLITE_MISUSE: sqlite3.OperationalError,
}


class Paused(Exception):
    """The member waits."""


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    def pause(seconds):
        raise Paused

    monkeypatch.setattr(durable_writes.time, "sleep", pause)


def of_number(code):
    error = sqlite3.OperationalError("it does not go")
    error.sqlite_errorcode = code
    return error


def test_every_number_of_the_system_is_waited_for_or_ends_with_one_line(tmp_path, monkeypatch):
    for number in errno.errorcode:

        def fails(descriptor, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fails)
        wanted = WAITED_FOR.get(number, UnwritableError)
        with pytest.raises(wanted) as raised:
            write_atomically(tmp_path / "x", b"new")
        assert type(raised.value) is wanted, errno.errorcode[number]
        with pytest.raises(Paused if number in WAITED_FOR else UnwritableError):
            insist(lambda: fails(0), lambda step: None)
        line, code = _explain(raised.value)
        assert code == 2
        assert os.strerror(number) in line or number in {errno.ENOSPC, errno.EDQUOT}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", SQLITE)
def test_numbers_of_sqlite_are_of_the_same_table(code):
    error, wanted = of_number(code), SQLITE[code]
    assert type(disk_error("x", error)) is wanted

    def write():
        raise error

    with pytest.raises(Paused if issubclass(wanted, UnwrittenError) else wanted):
        insist(write, lambda step: None)


def test_other_errors_are_no_disks():
    for error in (ValueError("x"), of_number(sqlite3.SQLITE_CORRUPT), UnwrittenError("x")):
        assert disk_error("x", error) is error


@pytest.fixture
def closed_folder(tmp_path):
    """A folder without rights for us; the administrator, who has them all, is somebody else."""
    folder, user = tmp_path / "folder", os.geteuid()
    folder.mkdir(mode=0o500)
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)


def test_a_place_without_rights_is_named(closed_folder):
    with pytest.raises(UnwritableError, match=r"cannot write .*Permission denied; put that right"):
        write_atomically(closed_folder / "x", b"new")


def test_a_folder_or_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnwritableError, match=r"File exists|Not a directory"):
        write_atomically(tmp_path / "file" / "x", b"new")
    (tmp_path / "folder" / "x").mkdir(parents=True)
    with pytest.raises(UnwritableError, match="Is a directory"):
        write_atomically(tmp_path / "folder" / "x", b"new")


class Blocked:
    """A member that keeps a training in a folder into which it may not write."""

    def __init__(self, folder, memory):
        self.ledger, self._memory = PrivacyLedger(book_path(folder, "a")), memory
        self.fence = JournalFence(lambda: self.ledger, RUN.id.hex())
        self.anew, self.following, self.vote_room = (lambda: self), (lambda: None), 0

    def handle(self, message):
        try:
            self._memory.keep("training", b"secret")
        except UnwritableError as error:
            return [m.encode(m.Failure(error=error.wire_name, text=str(error)))]
        return [m.encode(m.Done())]

    def state(self):
        return b""

    def restore(self, state):
        del state

    def begin_after_loss(self):
        pass

    def close(self):
        self.ledger.close()


def test_a_member_without_rights_ends_and_goes_on_when_it_has_them(tmp_path, monkeypatch):
    """It answers nothing, neither that nor why, and loses nothing."""
    party = ProcessParty(
        tmp_path, "a", bytes(range(32)), lambda _, memory: Blocked(tmp_path, memory)
    )
    with monkeypatch.context() as patch:

        def refused(descriptor):
            raise PermissionError(errno.EACCES, "Permission denied")

        patch.setattr(os, "fsync", refused)
        with pytest.raises(UnwritableError, match=r"\.sealed: Permission denied"):
            party.say(m.Save(round=1))
    assert party.outbox.sent == []
    party.restart()
    assert party.process._last is not None
    party.close()
