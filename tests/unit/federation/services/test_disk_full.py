"""A full disk: a member says so and goes on, a coordinator stops with one line."""

import errno
import sqlite3
from types import SimpleNamespace

import pytest

from securefl.errors import StorageFullError, UnwrittenError, disk_error
from securefl.federation.member.journal import MemberJournal
from securefl.federation.services.durable_writes import insist
from securefl.federation.services.member_presence import BEAT_SECONDS, Presence
from securefl.federation.services.member_status import MemberStatusFile
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.liveness import DISK_FAILS, DISK_FULL, LivenessTracker
from securefl.federation.transport.nats.journal import CoordinatorJournal, Event
from securefl.federation.transport.session_keys import RunKeys
from securefl.ml.tensor_io import write_atomically
from securefl_cli.main import _explain
from securefl_protocols.primitives.signing import SigningKey


def full_database(journal, pages=0):
    """Make a journal's file as large as it may be, which SQLite says like a full disk."""
    (count,) = journal._database.execute("PRAGMA page_count").fetchone()
    journal._database.execute(f"PRAGMA max_page_count = {count + pages}")


@pytest.fixture
def no_space(monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)


@pytest.fixture
def hub(tmp_path):
    made = CoordinatorJournal(tmp_path / "hub")
    yield made
    made.close()


def test_a_coordinator_with_a_full_disk_ends_with_one_line(hub):
    """What to do, and exit code 2 as of other files that cannot be written; not 70, a bug."""
    full_database(hub)
    with pytest.raises(StorageFullError, match="the disk is full") as raised:
        hub.record(1, [Event("north", f"a.1.{n}", bytes(60_000)) for n in range(3)])
    line, code = _explain(raised.value)
    assert code == 2
    assert "make room, and go on with the same command" in line
    assert "\n" not in line


def test_a_large_answer_on_a_full_disk_is_the_same_line(hub, no_space, tmp_path):
    """It is a file of its own; nothing of it is left, which would keep the disk full."""
    with pytest.raises(StorageFullError):
        hub.record(1, [Event("north", "a.1.1", bytes(70_000))])
    assert [path.name for path in (tmp_path / "hub").iterdir() if "message" in path.name] == []


def test_a_full_disk_in_any_database_is_no_bug():
    """Where nothing on the way says which file it was."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = 13
    line, code = _explain(error)
    assert (code, line.startswith("the disk is full")) == (2, True)


def test_a_file_on_a_full_disk_is_old_or_new(tmp_path, no_space):
    (tmp_path / "model").write_bytes(b"old")
    with pytest.raises(StorageFullError):
        write_atomically(tmp_path / "model", b"new")
    assert (tmp_path / "model").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("error", "step"),
    [(StorageFullError("journal"), DISK_FULL), (UnwrittenError("read-only"), DISK_FAILS)],
)
def test_a_member_says_why_it_cannot_write(error, step, monkeypatch):
    """After its third try in two seconds, and it waits no longer than five between two tries."""
    pauses, said, tries = [], [], iter([error] * 6)
    monkeypatch.setattr("time.sleep", pauses.append)

    def write():
        for found in tries:
            raise found
        return "written"

    assert insist(write, said.append) == "written"
    assert said == [step] * 4
    assert sum(pauses[:2]) < 2
    assert max(pauses) == 5.0


def test_room_again_is_said_at_once():
    """Until it is heard, each question is given up as soon as it is asked."""
    keys = SimpleNamespace(of=lambda name: b"key")
    presence = Presence("north", keys, None, None)
    pauses = []
    for step in ("waiting", DISK_FULL, DISK_FAILS):
        presence.step = step
        pauses.append(presence._until_next_beat())
    assert pauses[0] == BEAT_SECONDS
    assert pauses[1] == pauses[2] < 0.5


def test_an_answer_after_all_ends_a_trouble():
    watch = LivenessTracker()
    watch.heard("north", DISK_FULL.encode())
    watch.gone("north", "its disk is full")
    assert watch.trouble("north")
    watch.spoke("north")
    assert watch.trouble("north") == ""


def test_a_members_journal_on_a_full_disk_says_so(tmp_path):
    """The error that SQLite raises is the one that a member waits at."""
    journal = MemberJournal(tmp_path / "journal", bytes(32), bytes(32))
    full_database(journal)
    with pytest.raises(sqlite3.OperationalError) as raised:
        journal.add(f"{bytes(8).hex()}.1.1", bytes(60_000))
    assert isinstance(disk_error("", raised.value), StorageFullError)
    journal.close()


def test_a_member_with_a_full_disk_has_it_in_its_status(tmp_path):
    """With what to do, and until it can write again."""
    faults = StandingFaults()
    watch = MemberStatusFile.__new__(MemberStatusFile)
    watch._faults, watch._fields = faults, {"step": DISK_FULL}
    watch.step(DISK_FULL)
    assert faults.code("disk") == "disk-full"
    watch.wrote()
    assert faults.standing() == []


def test_journals_are_their_owners_alone(tmp_path, hub):
    """Of both roles, with what SQLite puts beside them, whatever the umask is."""
    journal = MemberJournal(tmp_path / "member", bytes(32), bytes(32))
    journal.add(f"{bytes(8).hex()}.1.1", b"question")
    hub.record(1, [Event("north", "a.1.1", b"answer"), Event("north", "a.1.2", bytes(70_000))])
    keys = RunKeys(tmp_path / "keys", SigningKey(bytes(32)), bytes(32), "north")
    modes = {
        path.name: path.stat().st_mode & 0o777
        for folder in ("hub", "member", "keys")
        for path in (tmp_path / folder).iterdir()
    }
    assert {"coordinator.sqlite", "coordinator.sqlite-wal", "journal.sqlite-wal"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    journal.close()
    keys.close()
