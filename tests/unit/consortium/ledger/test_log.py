"""The coordinator's log, and the members who sign a head only if it extends the last one."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from securefl.consortium.ledger.hash_chain import LedgerError, canonical, timestamp
from securefl.consortium.ledger.sqlite import DatabaseError
from securefl.consortium.ledger.transparency_log import LogError
from securefl.consortium.ledger.tree_heads import TreeHead, check_countersignature
from securefl.consortium.ledger.witness import SplitViewError, UnverifiedTreeHead


def hand_in(log, ledger):
    log.append(ledger.name, ledger.entries(log.count(ledger.name)))


def shown(log, ledger, head=None):
    head = head or log.new_head()
    consistency = log.consistency(ledger.name, ledger.signed_size(), head)
    return UnverifiedTreeHead(canonical(head), consistency, log.inclusions(ledger.name, head))


def sign_all(log, *ledgers):
    head = log.new_head()
    for ledger in ledgers:
        log.countersigned(head, ledger.name, ledger.countersign(shown(log, ledger, head)))
    return head


@pytest.fixture
def world(released, log):
    """Two members that released a round, and a log that both have countersigned."""
    ledgers, kept = (released("north"), released("south")), log()
    for ledger in ledgers:
        hand_in(kept, ledger)
    sign_all(kept, *ledgers)
    return kept, ledgers


def test_heads_carry_every_members_signature(world, consortium):
    log, (north, south) = world
    (signed,) = log.heads()
    assert signed.head.size == 4
    assert set(signed.signatures) == {"north", "south"}
    for ledger in (north, south):
        signature = bytes.fromhex(signed.signatures[ledger.name])
        check_countersignature(signed.head, signature, ledger.key.public, member=ledger.name)


def test_a_log_goes_on_where_it_stopped(world, log):
    kept, (north, south) = world
    kept.close()
    again = log()
    assert again.count("north") == again.count("south") == 2
    assert again.tree.root() == kept.tree.root()
    north.end(1)
    hand_in(again, north)
    head = sign_all(again, north, south)
    assert [one.head.size for one in again.heads()] == [4, 5]
    assert head.root == again.tree.root().hex()


def test_the_same_entries_twice_or_out_of_order_are_refused(world):
    log, (north, _) = world
    before = log.entries()
    with pytest.raises(LogError, match="does not follow"):
        log.append("north", north.entries(0))
    north.end(1)
    with pytest.raises(LogError, match="does not follow"):
        log.append("north", [*north.entries(2), *north.entries(2)])
    assert log.entries() == before
    hand_in(log, north)


def test_nobody_hands_in_for_somebody_else(world):
    log, (_, south) = world
    south.end(1)
    with pytest.raises(LogError, match="does not fit"):
        log.append("north", south.entries(2))


def test_entries_of_another_run_are_refused(log, released):
    elsewhere = released("north", run=2)
    with pytest.raises(LogError, match="another member, run or agreement"):
        log().append("north", elsewhere.entries(0))


@pytest.mark.parametrize("entry", [b"", b"{}", b"\xff", b'{"entry": {}, "signature": ""}'])
def test_garbage_is_refused(log, entry):
    with pytest.raises(LogError, match="north: this is no ledger entry"):
        log().append("north", [entry])


def test_a_fork_shown_to_a_member_is_refused(world, log, released):
    _, (north, south) = world
    other = log(name="fork")
    other.append("north", north.entries(0))
    other.append("south", south.entries(0)[:1])
    north.end(1)
    hand_in(other, north)
    with pytest.raises(SplitViewError, match="does not extend"):
        north.countersign(shown(other, north))
    assert north.signed_size() == 4


def test_a_log_without_the_members_entry_is_refused(world):
    log, (north, _) = world
    north.end(1)
    with pytest.raises(SplitViewError, match="entry 2 is not in the log"):
        north.countersign(shown(log, north))


def test_a_log_with_the_entry_of_another_place_is_refused(world):
    log, (north, south) = world
    south.end(1)
    hand_in(log, south)
    north.end(1)
    head = log.new_head()
    lie = UnverifiedTreeHead(
        canonical(head), log.consistency("north", 4, head), {2: log.inclusions("south", head)[2]}
    )
    with pytest.raises(SplitViewError, match="entry 2 is not in the log"):
        north.countersign(lie)


def test_a_truncated_log_is_refused(world, log):
    _, (north, _) = world
    shorter = log(name="shorter")
    shorter.append("north", north.entries(0))
    with pytest.raises(LogError, match="has signed a log of 4 entries"):
        shown(shorter, north)
    head = shorter.new_head()
    with pytest.raises(SplitViewError, match="does not extend"):
        north.countersign(
            UnverifiedTreeHead(canonical(head), (), shorter.inclusions("north", head))
        )


def test_a_stale_head_is_refused_once_a_later_one_was_signed(world):
    log, (north, south) = world
    old = log.heads()[0].head
    north.end(1)
    hand_in(log, north)
    sign_all(log, north, south)
    with pytest.raises(SplitViewError):
        north.countersign(UnverifiedTreeHead(canonical(old), (), {}))


def test_the_same_head_is_signed_again_with_the_same_signature(world):
    log, (north, _) = world
    head = log.heads()[0]
    again = north.countersign(shown(log, north, head.head))
    assert again.hex() == head.signatures["north"]


def test_a_member_killed_before_its_signature_left_gives_it_again(world):
    """Its book has noted the head, and it is asked with the proofs of before."""
    log, (north, _) = world
    north.end(1)
    hand_in(log, north)
    asked = shown(log, north, log.new_head())
    assert asked.consistency
    first = north.countersign(asked)
    assert north.countersign(asked) == first


def test_a_head_before_a_kill_is_left_out(world):
    """It was stored and shown to nobody; as long as it is the newest, it stays to be seen."""
    log, (north, south) = world
    north.end(1)
    hand_in(log, north)
    unsigned = log.new_head()
    assert [one.head for one in log.heads()][-1] == unsigned
    south.end(1)
    hand_in(log, south)
    last = sign_all(log, north, south)
    assert [one.head.size for one in log.heads()] == [4, last.size]
    assert all(one.signatures for one in log.heads())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"run": "99" * 32}, "another run"),
        ({"root": "00" * 32}, "does not extend"),
        ({"time": timestamp(datetime.now(UTC) + timedelta(hours=2))}, "in the future"),
        ({"time": "2001-01-01T00:00:00Z"}, "older"),
    ],
)
def test_a_head_that_was_made_up_is_refused(world, change, words):
    log, (north, _) = world
    head = TreeHead(**(log.heads()[0].head.model_dump() | change))
    with pytest.raises(LedgerError, match=words):
        north.countersign(UnverifiedTreeHead(canonical(head), (), {}))
    assert north.signed_size() == 4


@pytest.mark.parametrize("head", [b"", b"{}", b"\x00", b'{"run": 1}'])
def test_a_head_of_garbage_is_refused(world, head):
    _, (north, _) = world
    with pytest.raises(LedgerError, match="no head"):
        north.countersign(UnverifiedTreeHead(head, (), {}))


def test_a_wrong_countersignature_is_refused(world):
    log, (_, south) = world
    head = log.heads()[0].head
    with pytest.raises(LogError, match="north's signature"):
        log.countersigned(head, "north", south.key.sign(b"securefl/1/tree-head", canonical(head)))


def test_a_damaged_log_is_one_line(world, log, tmp_path):
    kept, _ = world
    kept.insert("UPDATE entries SET bytes = ? WHERE place = 1", (os.urandom(50),))
    kept.close()
    with pytest.raises(DatabaseError, match=r"log\.sqlite is damaged"):
        log()


def test_a_log_of_another_run_is_one_line(world, log):
    kept, _ = world
    kept.close()
    with pytest.raises(DatabaseError, match="an entry of another run"):
        log(run=2)
