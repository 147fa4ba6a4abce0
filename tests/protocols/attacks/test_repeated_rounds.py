"""A wrong checksum costs a round: it is repeated under fresh keys, and no input is opened."""

from dataclasses import replace

import numpy as np
import pytest

from securefl_protocols.primitives.errors import (
    ChecksumFailed,
    RemoteProtocolError,
    TooFewSurvivors,
)
from securefl_protocols.session.checksum import checksum_to_bytes
from securefl_protocols.session.client import ClientState
from securefl_protocols.session.dropouts import ServerStep
from securefl_protocols.session.replay import replay
from securefl_protocols.wire.signed_statements import signed_with_digest
from support.session_driver import (
    MODEL,
    Consortium,
    Exchange,
    body_of,
    changed,
    entropy_of,
    inputs,
    lanes_of,
    plain_sum,
    small_plan,
    told,
)

LIAR = 1


def lies(exchange, number=1):
    """The liar signs another tag with its input, all else honest."""
    client, message = exchange.clients[LIAR], body_of(exchange.outbox[LIAR])
    forged, digest = signed_with_digest(
        replace(message, tag=checksum_to_bytes(5)),
        context=client._round._context,
        sender=LIAR,
        session_key=client._keystore.encryption.public,
        identity=client._opening.party.identity,
    )
    exchange.outbox[LIAR], client._round._input_digest = forged, digest


def failed_round(plan=None, drops=(), number=1):
    """A round with a wrong checksum; returns what each member said of it."""
    consortium = Consortium(plan or small_plan(5, rounds=4))
    exchange = Exchange.of(consortium)
    exchange.advertise()
    vectors = inputs(exchange.server.plan)
    exchange.begin(vectors, number)
    exchange.step()
    lies(exchange)
    exchange.step(drops)
    exchange.step()
    failures = {}
    for index, message in exchange.outbox.items():
        exchange.server.receive(index, message)
    announced = exchange.server.end_step()
    for index, message in announced.items():
        with pytest.raises(ChecksumFailed) as failure:
            exchange.clients[index].receive(message)
        failures[index] = failure.value
    return exchange, vectors, failures, announced


def test_wrong_checksum_of_one_member_ends_no_session():
    """Badtag: one wrong number of one member, and the run was over for all."""
    exchange, vectors, failures, _ = failed_round()
    assert {f.survivors for f in failures.values()} == {frozenset(range(5))}
    assert {c.state for c in exchange.clients} == {ClientState.READY}
    assert not exchange.results
    exchange.server.begin_round(2, MODEL, only=failures[0].survivors)
    exchange.outbox = {
        i: c.begin_round(2, MODEL, vectors[i], only=failures[i].survivors)
        for i, c in enumerate(exchange.clients)
    }
    result = exchange.finish()
    assert np.array_equal(result.total, plain_sum(vectors))
    assert all(own.verified for own in exchange.results.values())


def test_repeat_is_under_keys_that_were_never_used():
    exchange, vectors, _, _ = failed_round()
    masked = {
        i: lanes_of(m, exchange.server.plan)
        for i, m in exchange.server.transcript().messages[2].items()
    }
    exchange.begin(vectors, 2)
    exchange.step()
    again = {i: lanes_of(m, exchange.server.plan) for i, m in exchange.outbox.items()}
    # Equal masks would show as equal masked inputs, or as equal pairs for some pair of members.
    assert all((masked[i] != again[i]).any() for i in range(5))
    assert len({tuple(again[i] - masked[i]) for i in range(5)}) == 5


def test_repeat_in_a_new_session():
    exchange, vectors, failures, _ = failed_round(small_plan(5))
    assert exchange.server.step is ServerStep.CLOSED
    consortium = Consortium(small_plan(5))
    fresh = Exchange.of(consortium)
    fresh.clients = [consortium.client(i, entropy_of(f"fresh keys of {i}")) for i in range(5)]
    fresh.advertise()
    fresh.server.begin_round(1, MODEL, only=failures[0].survivors)
    fresh.outbox = {
        i: c.begin_round(1, MODEL, vectors[i], only=failures[i].survivors)
        for i, c in enumerate(fresh.clients)
    }
    assert np.array_equal(fresh.finish().total, plain_sum(vectors))


@pytest.mark.parametrize("missing", [0, 4])
def test_repeat_with_other_survivors_gives_no_second_sum(missing):
    """Two sums of the same inputs that differ in one member would be that member's input."""
    exchange, vectors, failures, _ = failed_round()
    exchange.server.begin_round(2, MODEL)  # A coordinator that would take any survivors.
    exchange.outbox = {
        i: c.begin_round(2, MODEL, vectors[i], only=failures[i].survivors)
        for i, c in enumerate(exchange.clients)
    }
    exchange.step()
    with pytest.raises(RemoteProtocolError, match="survivors of the first"):
        exchange.step(silent=[missing])


def test_repeat_with_a_member_more_gives_no_second_sum():
    exchange, vectors, failures, _ = failed_round(drops=[4])
    assert failures[0].survivors == {0, 1, 2, 3}
    exchange.server.begin_round(2, MODEL)
    exchange.outbox = {
        i: c.begin_round(
            2, MODEL, vectors[i], only=failures[i].survivors if i in failures else None
        )
        for i, c in enumerate(exchange.clients)
    }
    exchange.step()
    with pytest.raises(RemoteProtocolError, match="survivors of the first"):
        exchange.step()


def test_repeat_with_other_survivors_control_opens_the_input():
    """Without `only`, the difference of the two sums is the input of the member in between."""
    exchange, vectors, _, announced = failed_round()
    first = np.frombuffer(told(announced[0]).total, dtype="<u4")
    exchange.begin(vectors, 2)
    second = exchange.finish({ServerStep.MASK: [4]})
    assert np.array_equal(first - second.total, vectors[4])


def test_honest_coordinator_stops_a_repeat_before_members_abort():
    exchange, vectors, failures, _ = failed_round()
    exchange.server.begin_round(2, MODEL, only=failures[0].survivors)
    exchange.outbox = {
        i: c.begin_round(2, MODEL, vectors[i], only=failures[i].survivors)
        for i, c in enumerate(exchange.clients)
    }
    exchange.step()
    with pytest.raises(TooFewSurvivors, match="survivors of the first"):
        exchange.step(silent=[3])
    assert {c.state for c in exchange.clients} == {ClientState.MASKED}


def replayed(exchange):
    consortium = Consortium(small_plan(5, rounds=4))
    return replay(
        exchange.server.transcript(),
        plan=consortium.plan,
        roster=consortium.roster,
        context=consortium.context,
        model=MODEL,
    )


def test_failed_checksum_that_replays_is_some_survivor_s():
    """The signed messages themselves do not fit, so the coordinator announced what it had to."""
    exchange, _, _, announced = failed_round()
    found, shown = replayed(exchange), told(announced[0])
    assert (found.total.tobytes(), found.checksum) == (shown.total, shown.tag)


@pytest.mark.parametrize("field", ["total", "tag"])
def test_failed_checksum_that_does_not_replay_is_the_coordinator_s(field):
    exchange = Exchange.of(Consortium(small_plan(5, rounds=4)))
    exchange.advertise()
    exchange.begin(inputs(small_plan(5)))
    for _ in range(3):
        exchange.step()
    shown = {}

    def forged(member, message):
        shown[member] = told(changed(message, **{field: bytes(len(getattr(told(message), field)))}))
        return changed(message, **{field: bytes(len(getattr(told(message), field)))})

    exchange.tamper = forged
    with pytest.raises(ChecksumFailed):
        exchange.step()
    found = replayed(exchange)
    assert (found.total.tobytes(), found.checksum) != (shown[0].total, shown[0].tag)


def test_second_announcement_after_a_failed_one_is_refused():
    """One message a round is all that a coordinator can try against the checksum."""
    exchange, _, _, announced = failed_round()
    victim = exchange.clients[0]
    with pytest.raises(RemoteProtocolError, match="no RoundSum is expected"):
        victim.receive(changed(announced[0], total=bytes(32)))
    assert victim.state is ClientState.ABORTED


def test_same_announcement_twice_is_ignored():
    exchange, _, _, announced = failed_round()
    assert exchange.clients[0].receive(announced[0]) == []
    assert exchange.clients[0].state is ClientState.READY


def test_tag_opened_for_blame_control_says_what_the_input_was():
    """Why no tag is opened to find the liar: whoever knows the key tests guesses of the input."""
    exchange = Exchange.of(Consortium(small_plan(5)))
    exchange.advertise()
    vectors = inputs(exchange.server.plan)
    exchange.begin(vectors)
    exchange.step()
    key = exchange.clients[4]._round._checksum_key  # A colluding member has it.
    opened = key.checksum(0, vectors[0])
    guesses = [np.roll(vectors[0], shift) for shift in range(8)]
    fitting = [g for g in guesses if key.checksum(0, g) == opened]
    assert len(fitting) == 1
    assert np.array_equal(fitting[0], vectors[0])
