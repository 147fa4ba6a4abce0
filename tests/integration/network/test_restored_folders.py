"""No way back: a restored folder or a copied journal refuses, because the ledger knows better."""

import shutil

import pytest

from securefl.consortium.ledger.round_records import StaleStateError
from securefl.errors import RunDirectoryError
from securefl.federation import messages as m
from securefl.federation.aggregation.secure import RoundFailedError, SecureAggregator
from securefl.federation.member.journal import MemberJournal
from support.masked_federation import MaskedFederation
from support.member_in_process import EPOCH, RUN, rehearsing

VICTIM = "retailer-2"
STEPS = ("train-masked", "keys", "shares", "survivors", "signatures", "sum", "save")


@pytest.fixture
def federation(tmp_path):
    made = MaskedFederation(tmp_path / "books")
    made.wire.members[VICTIM].close()
    made.wire.members[VICTIM] = rehearsing(made, tmp_path / "state", VICTIM)
    yield made
    for member in made.wire.members.values():
        member.close()


@pytest.fixture
def party(federation):
    return federation.wire.members[VICTIM]


@pytest.fixture
def copies(federation, party, tmp_path):
    """A round, and a copy of the victim's folder before each of its steps and after the last."""
    taken = []

    def copied():
        taken.append(tmp_path / f"copy-{len(taken)}")
        party.copy_to(taken[-1])

    def down(name, told):
        if name == VICTIM:
            copied()
        return told

    federation.wire.down = down
    assert VICTIM in federation.round().survivors
    copied()
    party.say(m.Save(round=1))
    assert len(taken) == len(STEPS)
    copied()
    return taken


def started_from(party, folder):
    """Start the member's process from another folder; the ledger is as it is."""
    party.stop()
    party.folder = folder
    party.start()


def test_folder_restored_between_any_two_steps_is_refused(copies, party):
    for step in range(1, len(STEPS)):
        with pytest.raises(StaleStateError, match="restored from a backup"):
            started_from(party, copies[step])
    started_from(party, copies[-1])


def test_folder_from_before_the_run_is_a_lost_disk(copies, party):
    """It goes on as a new one does, and the folder that it was copied from does not."""
    started_from(party, copies[0])
    with pytest.raises(StaleStateError):
        started_from(party, copies[-1])
    started_from(party, copies[0])


@pytest.mark.parametrize("step", [0, 3, 6])
def test_folder_and_ledger_restored_together_control_start(federation, party, tmp_path, step):
    """The limit: of a moment at which all was saved, no file on this machine knows better.

    The others do: the log of the coordinator holds entries that such a ledger has not, and what
    the member answers now is of keys that the session of the others does not have.
    """
    saved = []

    def down(name, told):
        if name == VICTIM:
            saved.append((tmp_path / f"copy-{len(saved)}", tmp_path / f"books-{len(saved)}"))
            party.copy_to(saved[-1][0])
            party.member.ledger.rows("PRAGMA wal_checkpoint(TRUNCATE)")
            shutil.copytree(federation.folder, saved[-1][1])
        return told

    federation.wire.down = down
    federation.round()
    federation.wire.down(VICTIM, None)
    party.stop()
    federation.folder, party.folder = saved[step][1], saved[step][0]
    party.start()


def test_ledger_restored_alone_is_refused(federation, party, tmp_path):
    """It would have lost charges; the journal that went on knows that it did."""
    party.member.ledger.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copytree(federation.folder, tmp_path / "old")
    federation.round()
    party.stop()
    federation.folder = tmp_path / "old"
    with pytest.raises(StaleStateError):
        party.start()
    federation.folder = tmp_path / "books"
    party.start()


def test_copied_journal_beside_its_original_stops(federation, party, tmp_path):
    """Two processes of one member: the one that is asked second is not the ledger's."""
    federation.round()
    party.copy_to(tmp_path / "copy")
    copy = rehearsing(federation, tmp_path / "copy", VICTIM)
    copy.asked = party.asked
    assert isinstance(party.say(m.Save(round=1)), m.Done)
    with pytest.raises(StaleStateError):
        copy.say(m.Save(round=1))
    with pytest.raises(StaleStateError):
        copy.restart()


def test_killed_between_journal_and_ledger_goes_on(federation, party):
    """The one request in which the journal may be ahead."""
    federation.round()
    party.asked += 1
    party.journal.add(f"{EPOCH}.1.{party.asked}", m.encode(m.Save(round=1)))
    party.restart()
    party.restart()
    assert federation.round(2).survivors == federation.names


def test_two_requests_ahead_of_the_ledger_are_refused(federation, party):
    federation.round()
    for _ in range(2):
        party.asked += 1
        party.journal.add(f"{EPOCH}.1.{party.asked}", m.encode(m.Save(round=1)))
    with pytest.raises(StaleStateError):
        party.restart()
    shutil.rmtree(party.folder)
    party.start()


def test_same_request_with_other_entropy_is_another_journal(federation, party, tmp_path):
    """Both copies are asked the same: the answers would differ in their keys."""
    federation.round()
    party.copy_to(tmp_path / "copy")
    again = federation.request(2, 1)
    party.say(again)
    party.stop()
    journal = MemberJournal(tmp_path / "copy", party.identity, RUN.id)
    journal.add(f"{EPOCH}.1.{party.asked}", m.encode(again))
    journal.close()
    party.folder = tmp_path / "copy"
    with pytest.raises(StaleStateError):
        party.start()
    party.folder = tmp_path / "state"
    party.start()


def test_journal_of_an_older_version_is_refused_by_name(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        database.execute("CREATE TABLE questions (place INTEGER PRIMARY KEY, id TEXT)")
    database.close()
    with pytest.raises(RunDirectoryError, match="has version 1, and not 2"):
        MemberJournal(tmp_path, bytes(32), RUN.id)


def restored(federation, states, sums):
    """All members and the coordinator in an older state, with the ledgers that they have."""
    for name, state in states.items():
        federation.wire.members[name].close()
        federation.wire.members[name] = federation.member(name)
        federation.wire.members[name].restore(state)
    aggregator = SecureAggregator(federation.consortium)
    aggregator.restore(sums)
    return aggregator


def test_state_of_an_earlier_round_enters_no_round_twice(tmp_path):
    """Rollback: under the same session keys, the same masks covered the same update again."""
    federation = MaskedFederation(tmp_path)
    federation.round()
    states = {name: member.state() for name, member in federation.wire.members.items()}
    sums = federation.aggregator.state()
    federation.round(2)
    aggregator = restored(federation, states, sums)
    answer = federation.ask("retailer-0", federation.request(2, 1))
    assert (answer.error, "is an old copy" in answer.text) == ("StaleStateError", True)
    restored(federation, states, sums)
    lost = {"retailer-3"}
    federation.wire.up = lambda name, said: None if name in lost else said
    with pytest.raises(RoundFailedError):
        federation.round(2, aggregator)


def test_state_before_a_round_that_is_over_enters_it_no_more(tmp_path):
    """The ledger has a later sum: earlier rounds are over, whatever the state says."""
    federation = MaskedFederation(tmp_path)
    for number in (1, 2):
        federation.round(number)
    federation.wire.members["retailer-0"].close()
    federation.wire.members["retailer-0"] = federation.member("retailer-0")
    answer = federation.ask("retailer-0", federation.request(1, 9))
    assert "has entered a sum already" in answer.text
