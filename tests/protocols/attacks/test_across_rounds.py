"""Many rounds from one key agreement: what a recovery in one round says about another."""

import numpy as np
import pytest

from securefl_protocols.primitives.errors import LocalProtocolError, RemoteProtocolError
from securefl_protocols.primitives.prg import add_many
from securefl_protocols.session import client, server
from securefl_protocols.session.dropouts import ServerStep
from securefl_protocols.session.masking import pairwise_sign, self_mask_key
from securefl_protocols.session.recovery import (
    EscrowRecovery,
    MaskingKeyRecovery,
    ShareDistribution,
)
from securefl_protocols.session.unmasking import rebuild, revealed_shares
from support.session_driver import (
    MODEL,
    Consortium,
    Exchange,
    body_of,
    inputs,
    plain_sum,
    small_plan,
)

VICTIM = 2


def two_rounds(plan):
    """The victim is in the sum of round 1 and drops out of round 2.

    Returns the inputs, and what the coordinator has of each round.
    """
    exchange = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    exchange.advertise()
    seen = []
    for number, drops in ((1, {}), (2, {ServerStep.MASK: [VICTIM]})):
        exchange.begin(vectors, number, MODEL)
        exchange.finish(drops)
        seen.append((exchange.server._current.context, exchange.server.transcript()))
    return vectors, seen, exchange.server._keys.by_member


def opened(transcript, step):
    return {member: body_of(data) for member, data in transcript.messages[step].items()}


def dealing(context, transcript, keys, member):
    neighbours = tuple(sorted(set(keys) - {member}))
    escrow = opened(transcript, 1)[member].escrow
    return ShareDistribution(context, member, keys[member].masking, neighbours, escrow)


def keys_of_the_victim(plan, recovery, secret_from, applied_to, keys):
    """Rebuilds the victim's secret of one round and applies it to another."""
    _, transcript = secret_from
    context, target = applied_to
    unmasked = {holder: u.key_shares for holder, u in opened(transcript, 4).items()}
    secret = rebuild(plan, revealed_shares([VICTIM], unmasked))[VICTIM]
    others = {m: dealing(context, target, keys, m) for m in keys if m != VICTIM}
    return recovery.pair_keys(dealing(context, target, keys, VICTIM), secret, others)


def open_round(plan, seen, pair_keys):
    """Removes from the victim's masked input its public self mask and the given pair masks."""
    context, transcript = seen
    unmasked = {holder: u.seed_shares for holder, u in opened(transcript, 4).items()}
    seed = rebuild(plan, revealed_shares(range(plan.members), unmasked))[VICTIM]
    masks = [(self_mask_key(seed, context=context, member=VICTIM), -1)]
    masks += [(key, -pairwise_sign(VICTIM, peer)) for peer, key in pair_keys.items()]
    masked = np.frombuffer(opened(transcript, 2)[VICTIM].vector, dtype=plan.ring.dtype).copy()
    add_many(masked, masks)
    return masked[: plan.dimension]


def test_trap_a_rebuilt_masking_key_opens_the_earlier_rounds(monkeypatch):
    # Control: a session of many rounds that shares the masking key as one of one round does.
    for module in (client, server):
        monkeypatch.setattr(module, "recovery_for", lambda _: MaskingKeyRecovery())
    plan = small_plan(5, rounds=2)
    vectors, (first, second), keys = two_rounds(plan)
    stolen = keys_of_the_victim(plan, MaskingKeyRecovery(), second, first, keys)
    assert np.array_equal(open_round(plan, first, stolen), vectors[VICTIM])


def test_trap_a_rebuilt_escrow_key_opens_no_other_round():
    plan = small_plan(5, rounds=2)
    vectors, (first, second), keys = two_rounds(plan)
    with pytest.raises(RemoteProtocolError, match="not the promised one"):
        keys_of_the_victim(plan, EscrowRecovery(), second, first, keys)
    # The keys of round 2 open nothing of round 1.
    of_round_two = keys_of_the_victim(plan, EscrowRecovery(), second, second, keys)
    garbage = open_round(plan, first, of_round_two)
    assert not np.array_equal(garbage, vectors[VICTIM])
    assert (garbage != vectors[VICTIM]).all()


def test_trap_no_mask_key_serves_two_rounds():
    plan = small_plan(5, rounds=2)
    session = Exchange.of(Consortium(plan))
    session.advertise()
    book, context = session.clients[0]._keystore, session.clients[0]._opening.context
    first = book.pair_keys(context.of_round(1, MODEL))
    second = book.pair_keys(context.of_round(2, MODEL))
    same_number = book.pair_keys(context.of_round(1, bytes(32)))
    every = [*first.values(), *second.values(), *same_number.values()]
    assert len(set(every)) == 12


def test_trap_the_masking_key_is_never_shared_in_many_rounds():
    plan = small_plan(5, rounds=2)
    session = Exchange.of(Consortium(plan))
    session.advertise()
    session.begin(inputs(plan))
    session.step()
    dealt = {i: c._round._dealt[VICTIM].key_share for i, c in enumerate(session.clients)}
    rebuilt = rebuild(plan, {VICTIM: dealt})[VICTIM]
    assert rebuilt != session.clients[VICTIM]._keystore.masking.private_bytes()


def test_key_or_mask_reuse_shows_the_difference_of_two_inputs():
    # Control: two inputs under the same masks differ by what the inputs differ.
    plan = small_plan(5)
    first, second = inputs(plan, 1)[0], inputs(plan, 2)[0]
    masked = [first.copy(), second.copy()]
    for vector in masked:
        add_many(vector, [(b"k" * 32, 1), (b"l" * 32, -1)])
    assert np.array_equal(masked[0] - masked[1], first - second)


def test_key_or_mask_reuse_within_a_session():
    plan = small_plan(5, rounds=3)
    session = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    session.advertise()
    masked = []
    for number in (1, 2):
        session.begin(vectors, number)
        session.step()
        masked.append(np.frombuffer(body_of(session.outbox[0]).vector, dtype=plan.ring.dtype)[:8])
        for _ in range(3):
            session.step()
    assert (masked[0] != masked[1]).all()
    with pytest.raises(LocalProtocolError, match="larger number"):
        session.clients[0].begin_round(2, MODEL, vectors[0])


def test_key_or_mask_reuse_by_a_session_beyond_its_rounds():
    plan = small_plan(5)
    session = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    assert np.array_equal(session.run(vectors).total, plain_sum(vectors))
    with pytest.raises(LocalProtocolError, match="no rounds left"):
        session.clients[0].begin_round(2, MODEL, vectors[0])


def test_answers_of_an_earlier_round_are_gone_when_the_next_begins():
    plan = small_plan(5, rounds=2)
    session = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    session.advertise()
    session.begin(vectors)
    session.step()
    for index, message in session.outbox.items():
        session.server.receive(index, message)
    told_in_round_one = session.server.end_step()
    left_behind = session.clients[0]
    left_behind.begin_round(2, MODEL, vectors[0])
    with pytest.raises(RemoteProtocolError, match="no SurvivorSet is expected"):
        left_behind.receive(told_in_round_one[0])
