"""The trap: the accountant lives as long as the data, and not as long as a round, run or task."""

import itertools
import sqlite3
import stat
from contextlib import closing

import pytest

from securefl.consortium.ledger.account_statements import accounts, refusal_lines, run_lines
from securefl.consortium.ledger.composition import compose
from securefl.consortium.ledger.data_custody import RefusedError, default_books
from securefl.consortium.ledger.events import Outcome
from securefl.consortium.ledger.hash_chain import LedgerError, check_chain, read_entry
from securefl.consortium.ledger.overlap import shared_customers
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.consortium.ledger.round_records import records_of
from securefl.consortium.ledger.sqlite import DatabaseError
from securefl.errors import InputError, StorageFullError, UnwritableError
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian

NAMES = ("north", "south", "west", "east")
MODEL = "ab" * 32
STEP = SampledGaussian(2.0, 0.5, 2)


def events(ledger):
    return [read_entry(data).entry.event for data in ledger.entries(0)]


def test_a_release_is_charged_and_signed_in_one_transaction(released):
    ledger = released(rounds=2)
    start, first, second = events(ledger)
    assert (start.kind, start.epsilon_before, start.history) == ("start", 0.0, ())
    assert first.epsilon_before == 0.0
    assert first.epsilon_after == second.epsilon_before == epsilon_of([STEP], 1e-5)
    assert second.epsilon_after == epsilon_of([STEP, STEP], 1e-5)
    assert first.mechanism.rng == "AES-256-CTR, system key"
    signed = [read_entry(data) for data in ledger.entries(0)]
    check_chain(signed, ledger.key.public)


def test_a_clock_that_is_set_back_makes_no_entry_older(released, monkeypatch):
    """An audit would take an honest log for one that was rewritten."""
    seconds = itertools.count(59, -1)
    told = "securefl.consortium.ledger.member_ledger.timestamp"
    monkeypatch.setattr(told, lambda: f"2026-03-02T09:00:{next(seconds):02d}Z")
    entries = [read_entry(data).entry for data in released(rounds=3).entries(0)]
    assert {entry.time for entry in entries} == {entries[0].time}


@pytest.mark.parametrize(
    "other",
    [
        {"run": 2},
        {"run": 2, "task": "demand", "privacy": {"dp": "local", "epsilon": 4.0, "delta": 1e-5}},
    ],
)
def test_two_runs_on_one_data_set_compose(released, other):
    released(rounds=3)
    ledger = released(rounds=1, **other)
    start, release = events(ledger)
    assert start.epsilon_before == epsilon_of([STEP] * 3, 1e-5)
    assert [one.steps for one in start.history] == [6]
    assert release.epsilon_after == epsilon_of([STEP] * 4, 1e-5)


def test_tables_that_grew_are_the_same_data_set(released):
    """Next month's tables, or a catalogue in another order, do not begin a new account."""
    released(digest="monday")
    start = events(released(digest="tuesday", run=2))[0]
    assert start.epsilon_before == epsilon_of([STEP], 1e-5)


def test_two_sources_are_two_data_sets_until_named(released):
    released(digest="monday", label="one")
    start = events(released(digest="tuesday", label="other", run=2))[0]
    assert start.epsilon_before == 0.0
    named = [
        released(digest=day, run=run, cap=50.0) for run, day in ((3, "monday"), (4, "tuesday"))
    ]
    assert events(named[0])[0].epsilon_before == epsilon_of([STEP], 1e-5)
    # Both days had releases before they had a name, and both count from now on.
    assert events(named[1])[0].epsilon_before == epsilon_of([STEP] * 3, 1e-5)
    # Leaving the name out again resets nothing.
    assert events(released(digest="monday", run=5))[0].epsilon_before == epsilon_of(
        [STEP] * 4, 1e-5
    )


def test_a_data_set_has_one_pseudonym_that_says_nothing(released):
    first, second = (
        events(released(digest="d" * 64))[0],
        events(released(digest="d" * 64, run=2))[0],
    )
    assert first.data_set == second.data_set != "d" * 64
    assert first.units != second.units


def test_the_cap_binds_over_runs_and_tasks_and_restarts(released, member):
    limit = epsilon_of([STEP] * 3, 1e-5)
    released(rounds=2, cap=limit)
    ledger = released(
        rounds=1, run=2, cap=limit, task="demand", privacy={"dp": "local", "epsilon": 9.0}
    )
    ledger.enter(2, NAMES, MODEL)
    before = ledger.entries(0)
    with pytest.raises(RefusedError, match="the cap of its policy"):
        ledger.charge(STEP, clip_norm=1.0, rng="system")
    assert ledger.entries(0) == before
    again = member(run=2, cap=limit, task="demand", privacy={"dp": "local", "epsilon": 9.0})
    again.begin(100)
    again.enter(2, NAMES, MODEL)
    with pytest.raises(RefusedError):
        again.charge(STEP, clip_norm=1.0, rng="system")
    assert again.life_epsilon() == limit


def test_two_processes_that_share_a_book_do_not_both_take_what_is_left(released, member):
    limit = epsilon_of([STEP] * 2, 1e-5)
    first, second = (member(run=run, cap=limit) for run in (1, 2))
    for ledger in (first, second):
        ledger.begin(100)
        ledger.enter(1, NAMES, MODEL)
    first.charge(STEP, clip_norm=1.0, rng="system")
    second.charge(STEP, clip_norm=1.0, rng="system")
    first.enter(2, NAMES, MODEL)
    with pytest.raises(RefusedError):
        first.charge(STEP, clip_norm=1.0, rng="system")


def test_units_do_not_share_a_cap_or_an_epsilon(released):
    private = {"dp": "local", "epsilon": 4.0, "delta": 1e-5, "unit": "record"}
    released(rounds=2)
    start = events(released(run=2, task="demand", privacy=private))[0]
    assert (start.unit, start.epsilon_before, start.history) == ("record", 0.0, ())


def test_the_same_update_sent_again_costs_nothing(released):
    ledger = released(rounds=1)
    ledger.enter(1, NAMES, MODEL)
    ledger.trained()
    ledger.enter(1, NAMES, MODEL)
    ledger.sent_again()
    *_, release, again, once_more = events(ledger)
    assert release.repeat_of is None
    assert again.repeat_of == once_more.repeat_of == 1
    assert again.mechanism is None
    assert len(ledger.charged()) == 1


def test_a_book_that_was_closed_holds_all_and_is_opened_again(released):
    ledger = released(rounds=1)
    before, path = events(ledger), ledger.privacy_ledger.path
    ledger.close()
    ledger.close()
    assert not path.with_name(f"{path.name}-wal").exists()
    ledger.enter(1, NAMES, MODEL)
    ledger.sent_again()
    assert events(ledger)[:-1] == before


def test_an_update_that_was_never_paid_for_does_not_leave(released):
    ledger = released(rounds=1)
    for number, model in ((2, MODEL), (1, "cd" * 32)):
        ledger.enter(number, NAMES, model)
        with pytest.raises(LedgerError, match="no release of round"):
            ledger.trained()


def test_releases_without_noise_are_counted_and_no_epsilon_is_claimed(member):
    ledger = member(privacy={"dp": "none", "epsilon": None})
    ledger.begin(100)
    ledger.enter(1, NAMES, MODEL)
    ledger.trained()
    start, release = events(ledger)
    assert (start.unit, start.delta, start.epsilon_before) == (None, None, None)
    assert (release.mechanism, release.epsilon_after) == (None, None)
    later = member(run=2)
    later.begin(100)
    assert events(later)[0].unprotected_before == 1


def test_a_run_goes_on_under_its_own_agreement_only(released, member):
    released()
    with pytest.raises(LedgerError, match="another agreement"):
        member(seed=99).begin(100)


def test_a_book_is_readable_by_its_owner_alone(released, tmp_path):
    released()
    path = book_path(tmp_path / "books", "north")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"not a book at all, but text", b"SQLite format 3\0" + bytes(500)]
)
def test_a_damaged_book_is_one_line(tmp_path, content):
    path = tmp_path / "north.sqlite"
    path.write_bytes(content)
    if content:
        with pytest.raises(DatabaseError, match=r"north\.sqlite is damaged"):
            PrivacyLedger(path)
    else:
        assert PrivacyLedger(path).runs() == ()


def test_a_book_of_another_version_is_one_line(released, tmp_path):
    released()
    path = book_path(tmp_path / "books", "north")
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(DatabaseError, match="has version 9"):
        PrivacyLedger(path)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match="cannot write"):
        PrivacyLedger(tmp_path / "file" / "north.sqlite")


def test_a_full_disk_is_one_line_and_charges_nothing(released, tmp_path):
    ledger = released(rounds=1)
    pages = ledger.privacy_ledger.rows("PRAGMA page_count")[0][0]
    ledger.privacy_ledger.rows(f"PRAGMA max_page_count = {pages}")
    ledger.enter(2, NAMES, MODEL)

    def charge_on():
        while True:
            ledger.charge(STEP, clip_norm=1.0, rng="system")

    # Not that there was nothing to roll back, which is what the second error says.
    with pytest.raises(StorageFullError, match="the disk is full"):
        charge_on()
    steps = sum(event.steps for event in ledger.charged())
    assert steps == 2 * sum(event.kind == "release" for event in events(ledger))


def test_retention_drops_entries_and_never_what_was_spent(released, tmp_path):
    ledger = released(rounds=2)
    ledger.end(2)
    open_run = released(rounds=1, run=2)
    for one in (ledger, open_run):
        records_of(one).enter(1, b"session", b"message")
    ledger.privacy_ledger.forget_entries_before("9999-01-01T00:00:00Z")
    assert ledger.entries(0) == ()
    assert len(open_run.entries(0)) == 2
    assert ledger.privacy_ledger.rows("SELECT run FROM entered") == [(open_run.run,)]
    assert open_run.life_epsilon() == epsilon_of([STEP] * 3, 1e-5)


def test_the_usual_place_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SECUREFL_HOME", str(tmp_path))
    assert default_books() == tmp_path / "books"
    monkeypatch.delenv("SECUREFL_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_books() == tmp_path / "securefl" / "books"


def test_statements_add_up_runs_and_state_shared_customers_as_a_composition(released, tmp_path):
    folder = tmp_path / "books"
    released("north", rounds=2, cap=9.0)
    released("north", rounds=1, run=2, cap=9.0)
    released("south", rounds=1)
    north, south = accounts(folder)
    assert (north.runs, north.releases, north.unit) == (2, 3, "customer")
    assert north.epsilon == pytest.approx(epsilon_of([STEP] * 3, 1e-5))
    assert north.left == pytest.approx(9.0 - north.epsilon)
    assert (south.cap, south.left) == (None, None)
    one, two = shared_customers(folder)
    assert one.epsilon == north.epsilon
    assert two.epsilon == pytest.approx(epsilon_of([STEP] * 4, 1e-5))
    assert two.epsilon > max(north.epsilon, south.epsilon)
    assert [line.state for line in run_lines(folder, "north")] == ["not ended"] * 2


def test_statements_show_what_no_epsilon_covers_and_what_was_refused(member, tmp_path):
    ledger = member(privacy={"dp": "none", "epsilon": None})
    ledger.begin(100)
    ledger.enter(1, NAMES, MODEL)
    ledger.trained()
    capped = member(run=2, cap=1.0)
    capped.begin(100)
    capped.enter(1, NAMES, MODEL)
    with pytest.raises(RefusedError) as caught:
        capped.charge(SampledGaussian(0.1, 1.0, 5), clip_norm=1.0, rng="system")
    capped.refuse(caught.value.refusal)
    (account,) = accounts(tmp_path / "books")
    assert (account.unit, account.epsilon, account.releases) == (None, None, 1)
    (refusal,) = refusal_lines(tmp_path / "books")
    assert (refusal.round, refusal.reason) == (1, "cap")
    with pytest.raises(InputError, match="no ledger of 'nobody'"):
        run_lines(tmp_path / "books", "nobody")


def test_the_price_of_many_rounds_is_that_of_one_mechanism(released):
    ledger = released(rounds=5)
    mechanisms = [e.mechanism for e in events(ledger) if e.kind == "release"]
    once = mechanisms[0].model_copy(update={"steps": 10})
    assert ledger.life_epsilon() == compose([once], 1e-5, "pld")


def test_a_book_of_the_first_version_keeps_its_charges(released, tmp_path):
    """Version 2 has two tables more; an upgrade must not cost a member its account."""
    released()
    path = book_path(tmp_path / "books", "north")
    with closing(sqlite3.connect(path)) as database, database:
        for table in ("entered", "journals"):
            database.execute(f"DROP TABLE {table}")
        database.execute("PRAGMA user_version = 1")
    with closing(PrivacyLedger(path)) as upgraded:
        assert upgraded.rows("SELECT COUNT(*) FROM releases")[0][0] > 0
        assert upgraded.rows("SELECT * FROM entered") == []
    with closing(PrivacyLedger(path)) as again:
        assert again.rows("PRAGMA user_version") == [(3,)]


def test_a_round_with_an_outcome_is_entered_no_more(released):
    """Asked of the ledger before each entry, whatever the member's state says."""
    ledger = released(rounds=1)
    ledger.conclude(Outcome(round=1, survivors=NAMES, model_after=MODEL, transcript=None))
    with pytest.raises(LedgerError, match="round 1 is over"):
        ledger.enter(1, NAMES, MODEL)
    ledger.enter(2, NAMES, MODEL)
