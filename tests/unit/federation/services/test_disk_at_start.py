"""A disk that takes nothing: a member starts as it runs, and deletes as it writes."""

import errno
import sqlite3
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from securefl.consortium.ledger import sqlite
from securefl.consortium.ledger.transcripts import TranscriptArchive
from securefl.errors import InputError, StorageFullError, UnwritableError, UnwrittenError
from securefl.federation.member.checkpoint import MemberState, save_member, state_path
from securefl.federation.member.journal import MemberJournal
from securefl.federation.services import durable_writes
from securefl.federation.services.member import MemberPaths, _begun, _opened, serve
from securefl.federation.transport.liveness import DISK_FULL
from securefl.federation.transport.nats.journal import CoordinatorJournal, Event
from securefl_protocols.primitives.signing import SigningKey
from support.closing import closed_later

CONTEXT = SimpleNamespace(
    run=SimpleNamespace(id=bytes(32)), key=SigningKey(bytes(32)), name="north"
)


@pytest.fixture
def pauses(monkeypatch):
    made = []
    monkeypatch.setattr(durable_writes, "time", SimpleNamespace(sleep=made.append))
    return made


def opened(folder):
    with ExitStack() as stack:
        _opened(CONTEXT, MemberPaths(folder, folder / "books", None, None), stack)


@pytest.mark.parametrize("place", ["folder", "database"])
def test_a_full_disk_at_the_start_is_waited_for(place, tmp_path, monkeypatch, pauses):
    """Each write fails three times, of which the file's and SQLite's error say the same."""
    left = {"folder": [3], "database": [3]}[place]

    def failing(honest, error):
        def call(*values, **named):
            if left[0]:
                left[0] -= 1
                raise error
            return honest(*values, **named)

        return call

    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    if place == "folder":
        error = OSError(errno.ENOSPC, "No space left on device")
        monkeypatch.setattr(Path, "mkdir", failing(Path.mkdir, error))
    else:
        monkeypatch.setattr(sqlite.sqlite3, "connect", failing(sqlite3.connect, full))
    opened(tmp_path)
    assert len(pauses) == 3


def test_a_start_without_rights_ends_with_one_line(tmp_path, monkeypatch, pauses):
    def refused(*values, **named):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refused)
    with pytest.raises(UnwritableError, match="Permission denied; put that right"):
        opened(tmp_path)
    assert pauses == []


def test_a_file_in_the_place_of_the_books_is_refused_at_the_start(tmp_path, pauses):
    """And not when the first charge is written, after all have been waited for."""
    (tmp_path / "books").write_text("a letter")
    with pytest.raises(UnwritableError, match=r"books: File exists; put that right"):
        opened(tmp_path)
    assert pauses == []


@pytest.mark.parametrize(
    ("number", "goes_on", "said"),
    [
        (1, False, "goes on from no model"),
        (1, True, "nope is no run and no folder of a model"),
        (2, False, "nope is no run and no folder of a model"),
    ],
)
def test_a_wrong_earlier_model_is_refused_before_anybody_is_waited_for(
    number, goes_on, said, tmp_path
):
    context = SimpleNamespace(
        **vars(CONTEXT), number=number, config=SimpleNamespace(goes_on=goes_on)
    )
    paths = MemberPaths(tmp_path / "state", tmp_path / "books", None, None, tmp_path / "nope")
    with pytest.raises(InputError, match=said):
        serve(context, paths)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_begins_on_a_full_disk_says_so_and_begins_anew(monkeypatch, pauses):
    """Each try is of a new member: the one before may have answered half of its journal."""
    tries, steps = [], []

    def begin(end, member, presence):
        tries.append(member)
        if len(tries) < 5:
            raise StorageFullError("its release")
        return "process"

    monkeypatch.setattr("securefl.federation.services.member.MemberProcess", begin)
    end = SimpleNamespace(watch=SimpleNamespace(step=steps.append))
    member, presence = SimpleNamespace(anew=lambda: "anew"), SimpleNamespace(step="")
    assert _begun(end, member, presence) == "process"
    assert tries == [member, *["anew"] * 4]
    assert presence.step == DISK_FULL
    assert set(steps) == {DISK_FULL}


def old_states(folder):
    folder.mkdir()
    state_path(folder, 1).write_bytes(b"")
    state = MemberState({"w": torch.zeros(1)}, {}, None)
    return lambda: save_member(folder, 5, state, 4)


def tried_room(folder):
    journal = closed_later(MemberJournal(folder, bytes(32), bytes(32)))
    return lambda: journal.try_room(8)


def old_snapshots(folder):
    journal = closed_later(MemberJournal(folder, bytes(32), bytes(32)))
    journal.snapshot(f"{bytes(8).hex()}.1.1", b"state")
    return lambda: journal.snapshot(f"{bytes(8).hex()}.1.2", b"state")


def answers(folder):
    hub = closed_later(CoordinatorJournal(folder))
    hub.record(1, [Event("north", "a.1.1", bytes(70_000))])
    return lambda: hub.forget(1)


def rejected_sums(folder):
    folder.mkdir()
    (folder / "rejected-000001.msgpack").write_bytes(b"")
    transcript = SimpleNamespace(to_bytes=lambda: b"sum", digest=lambda: bytes(32))
    return lambda: TranscriptArchive(folder, 1).keep_rejected(2, transcript)


def old_sums(folder):
    folder.mkdir()
    (folder / "round-000001.msgpack").write_bytes(bytes(1 << 20))
    transcript = SimpleNamespace(to_bytes=lambda: b"sum", digest=lambda: bytes(32))
    return lambda: TranscriptArchive(folder, 1).keep(2, transcript)


@pytest.mark.parametrize(
    "deleting", [old_states, tried_room, old_snapshots, answers, rejected_sums, old_sums]
)
@pytest.mark.parametrize(
    ("number", "wanted"),
    [(errno.EACCES, UnwritableError), (errno.EROFS, UnwritableError), (errno.EIO, UnwrittenError)],
)
def test_a_file_that_may_not_be_deleted_is_of_the_same_table(
    deleting, number, wanted, tmp_path, monkeypatch
):
    act = deleting(tmp_path / "party")

    def refused(path, *, missing_ok=False):
        raise OSError(number, errno.errorcode[number])

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(wanted, match="which is to be deleted"):
        act()
