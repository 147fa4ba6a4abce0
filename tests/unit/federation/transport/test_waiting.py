"""Who is waited for, and how long: the one policy, with what it learned of who was late."""

import time

import pytest

from securefl.federation.transport.faults import FAULTS, StandingFaults
from securefl.federation.transport.liveness import TROUBLES, LivenessTracker
from securefl.federation.transport.nats.batch import Batch, Question
from securefl.federation.transport.timeouts import TimeoutPolicy, Wait

NAMES = tuple("abcde")
POLICY = TimeoutPolicy(quorum=4)


@pytest.fixture
def watch():
    """All members were heard of just now."""
    made = LivenessTracker()
    for name in NAMES:
        made.heard(name, b"waiting")
    return made


def batch(*asked, ago=0.0):
    """Members that were asked something so many seconds ago."""
    made = Batch(asked=len(asked))
    for name in asked:
        made.open[name] = Question(name, b"", time.monotonic() - ago, 60.0, 3600.0)
    return made


def answer(made, watch, *names):
    for name in names:
        del made.open[name]
        made.answered += 1
        watch.answered(name, 1)


def late(made, watch, policy=POLICY, cut_off=()):
    return made.late(time.monotonic(), policy, watch, NAMES, dict(cut_off))


@pytest.mark.parametrize("content", TROUBLES)
def test_a_member_with_a_full_disk_is_out_at_once(watch, content):
    """In its own words, and before the others have answered."""
    made = batch(*NAMES)
    watch.heard("c", content)
    assert late(made, watch) == {"c": TROUBLES[content]}
    watch.heard("c", b"waiting")  # there is room again
    assert late(made, watch) == {}


def test_two_full_disks_end_no_round_that_needs_one(watch):
    """Without them there is no quorum in any try, so that waiting is all that helps."""
    made = batch(*NAMES)
    for name in "cd":
        watch.heard(name, b"disk full")
    assert late(made, watch) == {}


def test_a_late_member_is_waited_for_less(watch):
    """A quarter of the time after each step in a row that it missed, until it answers again."""
    assert POLICY.verdict(wait(elapsed=59.0)) == ""
    assert POLICY.verdict(wait(elapsed=61.0))
    assert POLICY.verdict(wait(elapsed=16.0, missed=1))
    assert POLICY.verdict(wait(elapsed=14.0, missed=1)) == ""
    assert POLICY.verdict(wait(elapsed=4.0, missed=2))
    watch.gone("a", "no answer in 60 s")
    watch.gone("a", "no answer in 15 s")
    assert watch.missed("a") == 2
    watch.answered("a", 1)
    assert watch.missed("a") == 0


def test_a_slow_quorum_gives_late_members_time(watch):
    """At least twice the time that the others took, whoever was late before."""
    assert POLICY.verdict(wait(elapsed=195.0, limit=3600.0, quorum=100.0, missed=5)) == ""
    assert POLICY.verdict(wait(elapsed=205.0, limit=3600.0, quorum=100.0, missed=5))


def wait(elapsed, limit=60.0, quorum=0.1, **fields):
    return Wait(elapsed=elapsed, limit=limit, last=3600.0, quorum=quorum, silent=0.0, **fields)


def test_a_round_after_two_losses_waits_no_hour(watch):
    """One is out of the round and back, another died: only a new try has a quorum."""
    made = batch(*"bcde", ago=40.0)
    answer(made, watch, *"cde")
    watch._heard["b"] = time.monotonic() - 45.0
    assert late(made, watch)["b"].startswith("silent for")


def test_without_a_quorum_in_any_try_all_are_waited_for(watch):
    """Members that come back go on in the same round, which a new try would throw away."""
    made = batch(*"bcde", ago=40.0)
    answer(made, watch, *"cde")
    for name in "ab":
        watch._heard[name] = time.monotonic() - 45.0
    assert late(made, watch) == {}


def test_a_question_to_one_silent_member_waits_no_hour(watch):
    made = batch("b", ago=40.0)
    watch._heard["b"] = time.monotonic() - 45.0
    assert set(late(made, watch)) == {"b"}


def test_who_is_cut_off_is_not_waited_for(watch):
    made = batch(*NAMES)
    assert late(made, watch, cut_off={"d": "flood"}) == {"d": "flood"}


def test_time_that_is_counted_for_no_member(watch):
    """A freeze of a minute: nobody is late, though nobody could be heard."""
    made = batch(*NAMES, ago=61.0)
    answer(made, watch, *"abcd")
    made.postpone(61.0)
    watch._heard["e"] = time.monotonic() - 61.0
    assert late(made, watch) == {}


def test_pauses_between_tries_grow_to_a_minute():
    pauses = TimeoutPolicy.pauses()
    assert [next(pauses) for _ in range(8)] == [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 60.0, 60.0]


def test_a_fault_keeps_its_time_until_it_ends(caplog):
    """One line of the log when it begins, with what to do, and one when it is over."""
    faults, changes = StandingFaults(), []
    faults.changed = lambda: changes.append(len(faults.standing()))
    faults.begin("store", "store-full")
    (first,) = faults.standing()
    faults.begin("store", "store-full")
    assert faults.standing() == [first]
    faults.end("store", "store-gone")
    assert faults.code("store") == "store-full"
    faults.end("store")
    faults.end("store")
    assert changes == [1, 0]
    begun, over = (record.getMessage() for record in caplog.records)
    assert FAULTS["store-full"].todo in begun
    assert over.startswith("over after")
