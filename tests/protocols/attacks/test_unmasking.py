"""Who asks for too much when dropouts are recovered, and who answers falsely."""

from dataclasses import replace

import numpy as np
import pytest

from securefl_protocols.primitives.errors import PlanError, RemoteProtocolError, TooFewSurvivors
from securefl_protocols.primitives.prg import add_many
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.session import client_round
from securefl_protocols.session.client import ClientState
from securefl_protocols.session.dropouts import DropoutReason
from securefl_protocols.session.masking import pairwise_mask_key, pairwise_sign, self_mask_key
from securefl_protocols.session.unmasking import rebuild
from securefl_protocols.wire.codec import encode_coordinator
from securefl_protocols.wire.messages import SurvivorSet
from securefl_protocols.wire.roster import members_from_bits
from securefl_protocols.wire.signed_statements import signed_message
from support.session_driver import (
    Consortium,
    Exchange,
    body_of,
    changed,
    input_digest,
    inputs,
    lanes_of,
    only,
    plain_sum,
    small_plan,
    told,
)

VICTIM = 2


def session(plan, steps):
    """Returns an exchange that has begun a round and taken some of its steps."""
    exchange = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    exchange.advertise()
    exchange.begin(vectors)
    sent = [dict(exchange.outbox)]
    for _ in range(steps):
        exchange.step()
        sent.append(dict(exchange.outbox))
    return exchange, vectors, sent


def open_with_both_secrets(exchange, plan, masked, seed, key):
    """What the coordinator does once it has both secrets of the victim."""
    context = exchange.server._current.context
    private = ExchangeKey(key)
    masks = [(self_mask_key(seed, context=context, member=VICTIM), -1)]
    for peer, keys in exchange.server._keys.by_member.items():
        if peer != VICTIM:
            pair = pairwise_mask_key(
                private.shared_secret(keys.masking), context=context, member=VICTIM, neighbour=peer
            )
            masks.append((pair, -pairwise_sign(VICTIM, peer)))
    add_many(masked, masks)
    return masked[: plan.dimension]


def test_both_shares_of_one_member_open_its_input():
    # Control: members that give away both of the victim's shares.
    plan = small_plan(5)
    exchange, vectors, sent = session(plan, 1)
    dealt = {i: c._round._dealt[VICTIM] for i, c in enumerate(exchange.clients)}
    seeds = rebuild(plan, {VICTIM: {i: d.seed_share for i, d in dealt.items()}})
    keys = rebuild(plan, {VICTIM: {i: d.key_share for i, d in dealt.items()}})
    masked = lanes_of(sent[1][VICTIM], plan)
    opened = open_with_both_secrets(exchange, plan, masked, seeds[VICTIM], keys[VICTIM])
    assert np.array_equal(opened, vectors[VICTIM])


def test_both_shares_of_one_member_asked_for():
    plan = small_plan(5)
    exchange, _, sent = session(plan, 3)
    for index, message in sent[3].items():
        revealed = body_of(message)
        assert set(revealed.seed_shares) == set(range(5))
        assert revealed.key_shares == {}
        # The survivor set once more, now without the victim.
        others = {i: input_digest(sent[2][i]) for i in range(5) if i != VICTIM}
        with pytest.raises(RemoteProtocolError, match="no SurvivorSet is expected"):
            exchange.clients[index].receive(encode_coordinator(SurvivorSet(1, others)))
        assert exchange.clients[index].state is ClientState.ABORTED
        assert exchange.clients[index]._round is None


def test_both_shares_one_share_a_peer_with_dropouts():
    plan = small_plan(7)
    exchange = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    exchange.advertise()
    exchange.begin(vectors)
    exchange.step()
    exchange.step(silent=[VICTIM])
    exchange.step()
    assert len(exchange.outbox) == 6
    for message in exchange.outbox.values():
        revealed = body_of(message)
        assert set(revealed.key_shares) == {VICTIM}
        assert set(revealed.seed_shares) == set(range(7)) - {VICTIM}


def test_shares_asked_for_twice():
    plan = small_plan(5)
    exchange, _, _ = session(plan, 2)
    heard = exchange.step()
    # The same bytes again are a repeated delivery and are not answered.
    assert exchange.clients[0].receive(heard[0]) == []
    fewer = dict(list(told(heard[0]).signatures.items())[:4])
    with pytest.raises(RemoteProtocolError, match="no Signatures is expected"):
        exchange.clients[0].receive(changed(heard[0], signatures=fewer))


def test_two_survivor_sets():
    plan = small_plan(7)
    exchange, _, _ = session(plan, 1)

    def without(message):
        rows = dict(told(message).survivors)
        del rows[VICTIM]
        return changed(message, survivors=rows)

    exchange.tamper = lambda i, m: without(m) if i in (0, 1, 3) else m
    exchange.step()
    signed = {i: body_of(m) for i, m in exchange.outbox.items()}
    assert len({message.survivors for message in signed.values()}) == 2
    # The coordinator has neither set signed often enough, and mixes the signatures.
    rows = {i: m[6:70] for i, m in exchange.outbox.items()}
    for index, client in enumerate(exchange.clients):
        known = members_from_bits(signed[index].survivors, 7)
        mixed = {i: row for i, row in rows.items() if i in known}
        message = client_round.Signatures(1, mixed)
        with pytest.raises(RemoteProtocolError, match="signature"):
            client.receive(encode_coordinator(message))


def test_two_survivor_sets_with_too_few_signatures():
    exchange, _, _ = session(small_plan(5), 2)
    exchange.tamper = only(
        0, lambda m: changed(m, signatures=dict(list(told(m).signatures.items())[:3]))
    )
    with pytest.raises(RemoteProtocolError, match="fewer neighbours signed"):
        exchange.step()


def test_two_survivor_sets_need_a_threshold_that_the_plan_refuses():
    for threshold in (1, 2, 6):
        with pytest.raises(PlanError, match="more than half"):
            replace(small_plan(5), threshold=threshold)


@pytest.mark.parametrize(
    ("survivors", "reason"),
    [
        ([0, 1, 3, 4], "we are told that we dropped out"),
        ([VICTIM, 0, 1], "fewer members survive"),
        ([0, 1, 2, 3, 4, 5], "who shared no keys"),
    ],
)
def test_false_survivor_set(survivors, reason):
    exchange, _, sent = session(small_plan(5), 1)
    rows = dict.fromkeys(survivors, input_digest(sent[1][VICTIM]))
    exchange.tamper = only(VICTIM, lambda m: changed(m, survivors=rows))
    with pytest.raises(RemoteProtocolError, match=reason):
        exchange.step()


def test_survivor_who_never_shared():
    exchange = Exchange.of(Consortium(small_plan(5)))
    exchange.advertise()
    exchange.begin(inputs(small_plan(5)))
    exchange.step(silent=[4])
    exchange.tamper = only(
        VICTIM, lambda m: changed(m, survivors=dict(told(m).survivors) | {4: bytes(32)})
    )
    with pytest.raises(RemoteProtocolError, match="who shared no keys"):
        exchange.step()


def test_late_straggler_opens_its_input_where_one_mask_is_all():
    # Control: without a self mask, the key share of a dropout opens an input that comes late.
    plan = small_plan(5)
    key, late = ExchangeKey(b"v" * 32), inputs(plan)[VICTIM].copy()
    peers = {j: ExchangeKey(bytes([j + 1]) * 32) for j in (0, 1, 3, 4)}
    masks = [
        (
            pairwise_mask_key(
                key.shared_secret(peer.public), context=bytes(32), member=VICTIM, neighbour=j
            ),
            pairwise_sign(VICTIM, j),
        )
        for j, peer in peers.items()
    ]
    masked = late.copy()
    add_many(masked, masks)
    add_many(masked, [(pair, -sign) for pair, sign in masks])
    assert np.array_equal(masked, late)


@pytest.mark.parametrize("steps_later", [0, 1, 2])
def test_late_straggler_is_refused_and_never_stored(steps_later):
    plan = small_plan(5)
    exchange = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    exchange.advertise()
    exchange.begin(vectors)
    exchange.step()
    late = exchange.outbox[VICTIM]
    exchange.step(silent=[VICTIM])
    for _ in range(steps_later):
        exchange.step()
    drop = exchange.server.receive(VICTIM, late)
    assert drop.reason is DropoutReason.LATE
    for _ in range(2 - steps_later):
        exchange.step()
    result = exchange.server.result()
    assert np.array_equal(result.total, plain_sum(v for i, v in enumerate(vectors) if i != VICTIM))
    assert late not in exchange.server.transcript().to_bytes()
    assert exchange.server.receive(VICTIM, late).reason is DropoutReason.LATE
    # The straggler is honest: it is not banned for being slow.
    assert VICTIM not in exchange.server.banned


def tampered_unmask(exchange, index, **fields):
    """Returns a member's Unmask message with other shares under its own good signature."""
    client = exchange.clients[index]
    message = body_of(exchange.outbox[index])
    altered = client_round.Unmask(
        message.round,
        fields.get("seed_shares", message.seed_shares),
        fields.get("key_shares", message.key_shares),
    )
    return signed_message(
        altered,
        context=exchange.server._current.context,
        sender=index,
        session_key=client._keystore.encryption.public,
        identity=client._opening.party.identity,
    )


def flipped(share):
    return share[:-1] + bytes([share[-1] ^ 1])


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("kind", ["seed_shares", "key_shares"])
def test_tampered_share_names_the_culprit_and_the_sum_is_exact(kind, rounds):
    plan = small_plan(7, rounds=rounds)
    exchange = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    exchange.advertise()
    exchange.begin(vectors)
    exchange.step()
    exchange.step(silent=[6])
    exchange.step()
    shares = dict(getattr(body_of(exchange.outbox[3]), kind))
    dealer = next(iter(shares))
    exchange.outbox[3] = tampered_unmask(
        exchange, 3, **{kind: shares | {dealer: flipped(shares[dealer])}}
    )
    drop = exchange.server.receive(3, exchange.outbox[3])
    assert (drop.member, drop.reason) == (3, DropoutReason.BAD_SHARE)
    assert f"member {dealer}" in drop.detail
    exchange.step()
    assert np.array_equal(exchange.server.result().total, plain_sum(vectors[:6]))


def test_tampered_shares_of_too_many_give_no_sum():
    exchange, _, _ = session(small_plan(5), 3)
    for index in (1, 3):
        shares = dict(body_of(exchange.outbox[index]).seed_shares)
        exchange.outbox[index] = tampered_unmask(
            exchange, index, seed_shares=shares | {0: flipped(shares[0])}
        )
    with pytest.raises(TooFewSurvivors):
        exchange.step()
    assert [d.member for d in exchange.server.dropouts] == [1, 3]


def test_withheld_share_is_no_answer():
    exchange, _, _ = session(small_plan(5), 3)
    shares = dict(body_of(exchange.outbox[1]).seed_shares)
    del shares[0]
    drop = exchange.server.receive(1, tampered_unmask(exchange, 1, seed_shares=shares))
    assert drop.reason is DropoutReason.MALFORMED
