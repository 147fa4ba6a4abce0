"""What a finished round leaves in files: little, and all that an audit or a restart needs."""

import sqlite3
from contextlib import closing

import pytest

from securefl.consortium.ledger.entry_packing import WHOLE, packed, unpacked
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.consortium.ledger.round_records import StaleStateError, records_of
from securefl.consortium.ledger.sqlite import DatabaseError
from securefl.federation.transport.nats.journal import CoordinatorJournal, Event

ROUNDS = 12


def stored(path):
    with closing(sqlite3.connect(path)) as database:
        return [row[0] for row in database.execute("SELECT bytes FROM entries ORDER BY rowid")]


def as_before(path, version):
    """Write a file's entries as they are, as an earlier version did."""
    with closing(PrivacyLedger(path)) as ledger:
        (run,) = {row[0] for row in ledger.rows("SELECT run FROM entries")}
        whole = ledger.entries(run)
    with closing(sqlite3.connect(path)) as database, database:
        for number, data in enumerate(whole):
            database.execute("UPDATE entries SET bytes = ? WHERE sequence = ?", (data, number))
        database.execute(f"PRAGMA user_version = {version}")
    return whole


@pytest.fixture
def long(released):
    """The ledger of a member that released many rounds."""
    return released("north", rounds=ROUNDS)


def test_later_entries_are_packed(long, log, tmp_path):
    """In both ledgers; what is read is what was signed."""
    entries = long.entries(0)
    with closing(log()) as kept:
        kept.append("north", entries[:2])
        kept.append("north", entries[2:])
        assert kept.entries() == entries
    with closing(log()) as again:
        assert again.entries() == entries
    path = book_path(tmp_path / "books", "north")
    for file in (path, again.path):
        small = stored(file)
        assert tuple(small[:WHOLE]) == entries[:WHOLE]
        assert sum(map(len, small[WHOLE:])) < 0.4 * sum(map(len, entries[WHOLE:]))


def test_a_ledger_with_whole_entries_goes_on(long, released, tmp_path):
    path = book_path(tmp_path / "books", "north")
    whole = as_before(path, 2)
    again = released("north", rounds=0)
    again.end(ROUNDS)
    assert again.entries(0)[: len(whole)] == whole
    assert len(again.entries(0)) == len(whole) + 1
    assert len(stored(path)[-1]) < 0.7 * len(again.entries(0)[-1])


@pytest.mark.parametrize("bad", [b"x\xf9" + bytes(40), b"", b"PK"])
def test_a_damaged_packed_entry_is_one_line(long, tmp_path, bad):
    path = book_path(tmp_path / "books", "north")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE entries SET bytes = ? WHERE sequence = ?", (bad, ROUNDS))
    with closing(PrivacyLedger(path)) as ledger, pytest.raises(DatabaseError, match="is damaged"):
        ledger.entries(long.run)


def test_an_entry_of_other_first_ones_is_none():
    first = [b'{"a":1}', b'{"b":2}', b'{"c":3}', b'{"d":4}']
    small = packed(b'{"a":1,"b":2}', first)
    assert unpacked(small, first) == b'{"a":1,"b":2}'
    for others in (first[::-1], [], [*first, b"{}"]):
        with pytest.raises(ValueError, match="unpacked"):
            unpacked(small, others)
    for longer in (small + b"x", small[:-1]):
        with pytest.raises(ValueError, match="unpacked"):
            unpacked(longer, first)


def test_records_of_rounds_that_are_over_are_deleted(long):
    records = records_of(long)
    for number in range(1, ROUNDS):
        records.bind_input(number, b"input")
        records.enter(number, b"session", b"message")
        records.unmask(number, b"session", ("north", "south"))
    assert long.privacy_ledger.rows("SELECT DISTINCT round FROM entered") == [(ROUNDS - 1,)]


@pytest.mark.parametrize("write", ["enter", "bind_input", "bind_scores"])
def test_a_round_that_is_over_is_entered_no_more(long, write):
    """Its record is deleted: that must refuse all, and not allow all."""
    records = records_of(long)
    for number in (1, 2):
        records.enter(number, b"session", b"message")
        records.unmask(number, b"session", ("north", "south"))
    with pytest.raises(StaleStateError, match="round 1 is over"):
        getattr(records, write)(1, *(b"session", b"message")[: 1 if write == "bind_input" else 2])


def test_a_book_of_many_rounds_has_a_short_log(long, tmp_path):
    """SQLite alone lets the write-ahead log grow to four megabytes."""
    records = records_of(long)
    for number in range(1, 80):
        records.enter(number, b"session", b"message")
        records.unmask(number, b"session", ("north", "south"))
    assert (tmp_path / "books" / "north.sqlite-wal").stat().st_size < 600_000


def test_a_journal_keeps_nothing_of_rounds_that_ended(tmp_path):
    with closing(CoordinatorJournal(tmp_path)) as journal:
        for number in range(1, 50):
            section = journal.section(f"round {number}")
            journal.record(section, [Event("north", f"{journal.epoch}.{section}.1", b"x" * 90_000)])
            journal.passing_section()
            last = journal.section(f"round {number}")
            assert last == section
            journal.forget(number)
        later = journal.passing_section()
        assert later > section + 1
        assert journal._database.execute("SELECT COUNT(*) FROM sections").fetchone()[0] <= 2
    assert not list(tmp_path.glob("*.message"))
