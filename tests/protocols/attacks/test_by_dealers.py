"""Members that deal false shares, false secrets or false keys, and who is blamed for it."""

import numpy as np
import pytest

from securefl_protocols.primitives.errors import DisputedPair, RemoteProtocolError
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.session import client_round, recovery
from securefl_protocols.session.dropouts import DropoutReason, ServerStep
from securefl_protocols.wire.context import DIGEST_BYTES
from securefl_protocols.wire.signed_statements import signed_message
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


def test_dealer_that_seals_another_share_than_it_committed_to():
    plan = small_plan(5)
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise()
    exchange.begin(inputs(plan))
    message = body_of(exchange.outbox[1])
    deal = message.deals[VICTIM]
    false = bytes(DIGEST_BYTES) + deal[DIGEST_BYTES:]
    client = exchange.clients[1]
    exchange.outbox[1] = signed_message(
        client_round.ShareKeys(
            1, message.seed_commitment, message.escrow, dict(message.deals) | {VICTIM: false}
        ),
        context=exchange.server._current.context,
        sender=1,
        session_key=client._keystore.encryption.public,
        identity=client._opening.party.identity,
    )
    with pytest.raises(RemoteProtocolError, match="not the one committed to") as caught:
        exchange.step()
    assert caught.value.peer == 1


def test_dealer_whose_shares_rebuild_another_seed(monkeypatch):
    plan = small_plan(5, rounds=2)
    exchange = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    exchange.advertise()
    exchange.server.begin_round(1, MODEL)
    for index, client in enumerate(exchange.clients):
        with monkeypatch.context() as patch:
            if index == 1:
                patch.setattr(client_round, "seed_commitment", lambda *_: bytes(32))
            exchange.outbox[index] = client.begin_round(1, MODEL, vectors[index])
    with pytest.raises(RemoteProtocolError, match="not the one committed to") as caught:
        exchange.finish()
    assert caught.value.peer == 1
    assert exchange.server.dropouts[-1].reason is DropoutReason.BAD_SECRET
    # The others go on without the dealer, under the keys of the next round.
    exchange.begin(vectors, 2)
    assert exchange.finish().survivors == (0, 2, 3, 4)


def test_dealer_whose_key_is_not_the_advertised_one(monkeypatch):
    plan = small_plan(5)
    exchange = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    exchange.advertise()
    false = ExchangeKey(b"f" * 32)
    monkeypatch.setattr(exchange.clients[1]._keystore.masking, "_private", false.private_bytes())
    exchange.begin(vectors)
    with pytest.raises(RemoteProtocolError, match="not the advertised one") as caught:
        exchange.finish({ServerStep.MASK: [1]})
    assert caught.value.peer == 1


def test_dealer_with_a_false_escrow():
    plan = small_plan(5, rounds=2)
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise()
    vectors = inputs(plan)
    keys = exchange.clients[1]._keystore
    keys._pair_secrets[3] = b"x" * 32
    exchange.begin(vectors)
    with pytest.raises(DisputedPair, match="1 and 3 differ") as caught:
        exchange.finish({ServerStep.MASK: [1]})
    assert caught.value.peers == (1, 3)


def test_false_pair_check_of_a_survivor_does_not_single_out_the_honest_dropout(monkeypatch):
    plan = small_plan(7, rounds=2, min_members=3)
    liar, honest = 4, 2
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise()
    vectors = inputs(plan)
    check = recovery._pair_check
    with monkeypatch.context() as patch:
        patch.setattr(
            recovery,
            "_pair_check",
            lambda dealing, key: bytes(16) if dealing.member == liar else check(dealing, key),
        )
        exchange.begin(vectors)
    with pytest.raises(DisputedPair, match="2 and 4 differ") as caught:
        exchange.finish({ServerStep.MASK: [honest]})
    # Which of the two lied cannot be seen: nobody is called the culprit, and both are named.
    assert caught.value.peer is None
    blamed = [d.member for d in exchange.server.dropouts if d.reason is DropoutReason.DISPUTED_KEY]
    assert blamed == [honest, liar]
    exchange.begin(vectors, 2)
    result = exchange.finish()
    assert result.survivors == (0, 1, 3, 5, 6)
    assert np.array_equal(result.total, plain_sum(vectors[i] for i in result.survivors))
