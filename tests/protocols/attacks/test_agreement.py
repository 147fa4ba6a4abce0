"""The coordinator lies about models, plans, keys and members, or replays another session."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from securefl_protocols.primitives.errors import (
    LocalProtocolError,
    PlanError,
    RemoteProtocolError,
    TooFewSurvivors,
)
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.session.client import ClientState
from securefl_protocols.session.dropouts import DropoutReason, ServerStep
from securefl_protocols.session.masking import mask, pairwise_mask_key
from securefl_protocols.wire.codec import encode_coordinator, signature_of
from securefl_protocols.wire.messages import KeyList
from securefl_protocols.wire.roster import Roster, members_to_bits
from support.session_driver import (
    MODEL,
    Consortium,
    Exchange,
    body_of,
    changed,
    entropy_of,
    inputs,
    only,
    plain_sum,
    small_plan,
    told,
)

OTHER_MODEL = hashlib.sha256(b"a model with dead units").digest()
VICTIM = 2


def aborted(client):
    return client.state is ClientState.ABORTED


def test_model_inconsistency_leaks_where_nobody_checks():
    # Pasquini et al. 2022: all but the victim get a model whose gradient is zero.
    plan = small_plan(5)
    vectors = [np.zeros(8, dtype="<u4") for _ in range(5)]
    vectors[VICTIM] = inputs(plan)[VICTIM]
    baseline = Exchange.of(Consortium(plan)).run(vectors)
    assert np.array_equal(baseline.total, vectors[VICTIM])


def test_model_inconsistency_ends_before_anything_is_sent():
    plan = small_plan(5)
    exchange = Exchange.of(Consortium(plan))
    for index, client in enumerate(exchange.clients):
        model = MODEL if index == VICTIM else OTHER_MODEL
        exchange.outbox[index] = client.start(1, model)
    drops = [exchange.server.receive(i, exchange.outbox[i]) for i in range(5)]
    # Whatever the coordinator's own model is, the others' signatures do not fit it.
    assert [d.reason for d in drops if d] == [DropoutReason.BAD_SIGNATURE] * 4


def test_model_inconsistency_with_a_coordinator_that_relays_everything():
    plan = small_plan(5)
    consortium = Consortium(plan)
    honest = Exchange.of(consortium)
    honest.advertise()
    rows = {}
    victim = consortium.client(VICTIM, entropy_of("fresh"))
    own = victim.start(1, OTHER_MODEL)
    for index in range(5):
        sent = honest.server.opening()[0][index] if index != VICTIM else own
        rows[index] = _row(sent)
    with pytest.raises(RemoteProtocolError, match="signature") as caught:
        victim.receive(encode_coordinator(KeyList(members_to_bits(range(5), 5), rows)))
    assert caught.value.peer == 0
    assert aborted(victim)


def _row(sent):
    keys = body_of(sent)
    return keys.encryption + keys.masking + signature_of(sent)


def test_model_inconsistency_in_a_later_round_of_a_session():
    plan = small_plan(5, rounds=3)
    exchange = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    exchange.advertise()
    exchange.begin(vectors)
    exchange.finish()
    exchange.server.begin_round(2, MODEL)
    for index, client in enumerate(exchange.clients):
        model = OTHER_MODEL if index == VICTIM else MODEL
        exchange.outbox[index] = client.begin_round(2, model, vectors[index])
    drop = exchange.server.receive(VICTIM, exchange.outbox.pop(VICTIM))
    assert drop.reason is DropoutReason.BAD_SIGNATURE
    result = exchange.finish()
    assert VICTIM not in result.survivors


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 5},
        {"min_members": 3},
        {"largest_input": 1 << 10},
        {"rounds": 2},
        {"terms": hashlib.sha256(b"another model structure").digest()},
        {"layers": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_changed_plan_or_model_structure(change):
    plan = small_plan(5)
    consortium, other = Consortium(plan), Consortium(replace(plan, **change))
    exchange = Exchange.of(consortium)
    exchange.clients[VICTIM] = other.client(VICTIM)
    exchange.advertise()
    assert [(d.member, d.reason) for d in exchange.server.dropouts] == [
        (VICTIM, DropoutReason.BAD_SIGNATURE)
    ]


def test_swapped_key_in_the_middle_reads_an_unsigned_exchange():
    # Control: keys that nobody signed. The coordinator stands between i and everybody.
    own, false = ExchangeKey(b"o" * 32), ExchangeKey(b"f" * 32)
    secret_input = inputs(small_plan(5))[0]
    secrets = {j: own.shared_secret(false.public) for j in (1, 2, 3)}
    bound = {"context": bytes(32), "member": 0}
    keys = {j: pairwise_mask_key(s, neighbour=j, **bound) for j, s in secrets.items()}
    masked = secret_input.copy()
    mask(masked, member=0, self_key=b"s" * 32, pairwise_keys=keys)
    # The self mask is released in an honest round; the pairwise masks are the coordinator's.
    stolen = {
        j: pairwise_mask_key(false.shared_secret(own.public), neighbour=j, **bound) for j in keys
    }
    masks = np.zeros_like(masked)
    mask(masks, member=0, self_key=b"s" * 32, pairwise_keys=stolen)
    assert np.array_equal(masked - masks, secret_input)


@pytest.mark.parametrize("place", [0, 32], ids=["encryption", "masking"])
def test_swapped_key_in_the_middle(place):
    false = ExchangeKey(b"f" * 32).public
    exchange = Exchange.of(Consortium(small_plan(5)))

    def swap(message):
        keys = dict(told(message).keys)
        keys[3] = keys[3][:place] + false + keys[3][place + 32 :]
        return changed(message, keys=keys)

    exchange.tamper = only(VICTIM, swap)
    with pytest.raises(RemoteProtocolError, match="signature") as caught:
        exchange.advertise()
    assert caught.value.peer == 3
    assert aborted(exchange.clients[VICTIM])


def test_own_keys_swapped_in_the_list():
    exchange = Exchange.of(Consortium(small_plan(5)))
    exchange.tamper = only(
        VICTIM, lambda m: changed(m, keys=told(m).keys | {VICTIM: told(m).keys[0]})
    )
    with pytest.raises(RemoteProtocolError, match="our own keys"):
        exchange.advertise()


def test_two_members_with_the_same_session_keys():
    # The same entropy at two members; their masks would be known to each other.
    consortium = Consortium(small_plan(5))
    exchange = Exchange.of(consortium)
    exchange.clients[3] = consortium.client(3, entropy_of("one seed"))
    exchange.clients[4] = consortium.client(4, entropy_of("one seed"))
    exchange.advertise()
    assert [(d.member, d.reason) for d in exchange.server.dropouts] == [
        (4, DropoutReason.MALFORMED)
    ]


def test_same_session_keys_let_through_by_the_coordinator():
    consortium = Consortium(small_plan(5))
    exchange = Exchange.of(consortium)
    twin = consortium.client(4, entropy_of("one seed"))
    exchange.clients[3] = consortium.client(3, entropy_of("one seed"))
    row = _row(twin.start(1, MODEL))
    exchange.tamper = only(VICTIM, lambda m: changed(m, keys=dict(told(m).keys) | {4: row}))
    with pytest.raises(RemoteProtocolError, match="two advertised keys are the same"):
        exchange.advertise()


LOW_ORDER = [bytes(32), b"\x01" + bytes(31)]


@pytest.mark.parametrize("point", LOW_ORDER, ids=["zero", "one"])
@pytest.mark.parametrize("key", ["encryption", "masking"])
def test_key_of_low_order_from_a_member(key, point):
    exchange = Exchange.of(Consortium(small_plan(5)))
    getattr(exchange.clients[4]._keystore, key).public = point
    exchange.advertise()
    assert [(d.member, d.reason) for d in exchange.server.dropouts] == [
        (4, DropoutReason.MALFORMED)
    ]


def test_key_of_low_order_let_through_by_the_coordinator():
    consortium = Consortium(small_plan(5))
    exchange = Exchange.of(consortium)
    accomplice = consortium.client(4)
    accomplice._keystore.masking.public = bytes(32)
    row = _row(accomplice.start(1, MODEL))
    exchange.tamper = only(VICTIM, lambda m: changed(m, keys=dict(told(m).keys) | {4: row}))
    with pytest.raises(RemoteProtocolError, match="low order") as caught:
        exchange.advertise()
    assert caught.value.peer == 4
    assert aborted(exchange.clients[VICTIM])


def test_sybil_one_key_under_two_names():
    key = SigningKey(b"k" * 32).public
    with pytest.raises(PlanError, match="same identity"):
        Roster(("a", "b"), (key, key))
    with pytest.raises(PlanError, match="same name"):
        Roster(("a", "a"), (key, bytes(32)))


def test_sybil_members_made_up_by_the_coordinator():
    # The coordinator signs for a member of the roster with a key of its own.
    consortium = Consortium(small_plan(5))
    exchange = Exchange.of(consortium)
    sybil = Consortium(small_plan(5))
    false = SigningKey(b"coordinator's own key...........")
    names, keys = sybil.roster.names, (*sybil.roster.identities[:4], false.public)
    sybil.roster, sybil.identities[4] = Roster(names, keys), false
    row = _row(sybil.client(4).start(1, MODEL))
    exchange.tamper = only(VICTIM, lambda m: changed(m, keys=dict(told(m).keys) | {4: row}))
    with pytest.raises(RemoteProtocolError, match="signature"):
        exchange.advertise()


def test_sybil_members_that_are_only_counted():
    exchange = Exchange.of(Consortium(small_plan(5)))
    everybody = members_to_bits(range(5), 5)
    exchange.tamper = only(VICTIM, lambda m: changed(m, cohort=everybody))
    with pytest.raises(RemoteProtocolError, match="not those of the members"):
        exchange.advertise(silent=[4])


def test_cohort_smaller_than_agreed():
    plan = small_plan(5, min_members=5)
    exchange = Exchange.of(Consortium(plan))

    def shrink(message):
        keys = {i: row for i, row in told(message).keys.items() if i != 4}
        return changed(message, cohort=members_to_bits(range(4), 5), keys=keys)

    exchange.tamper = only(VICTIM, shrink)
    with pytest.raises(RemoteProtocolError, match="smaller than the plan allows"):
        exchange.advertise()


def test_cohort_without_us():
    exchange = Exchange.of(Consortium(small_plan(5)))
    others = members_to_bits([0, 1, 3, 4], 5)
    exchange.tamper = only(VICTIM, lambda m: changed(m, cohort=others))
    with pytest.raises(RemoteProtocolError, match="we are not in the cohort"):
        exchange.advertise()


def record(consortium, vectors, entropy):
    """Runs a session and returns what every member sent and was told, by step."""
    exchange = Exchange(
        [consortium.client(i, entropy_of(f"{entropy}{i}")) for i in range(5)], consortium.server()
    )
    sent, heard = [], []
    exchange.advertise()
    exchange.begin(vectors)
    for _ in range(4):
        sent.append(dict(exchange.outbox))
        heard.append(exchange.step())
    return exchange, sent, heard


def test_replay_across_sessions_of_the_coordinators_messages():
    # Same run, round, model and plan: the context is the same, only the session is not.
    consortium = Consortium(small_plan(5))
    vectors = inputs(consortium.plan)
    _, _, heard = record(consortium, vectors, "first")
    second = Exchange([consortium.client(i) for i in range(5)], consortium.server())
    second.advertise()
    second.begin(vectors)
    with pytest.raises(RemoteProtocolError, match=r"our deal|box|opened"):
        second.clients[0].receive(heard[0][0])
    assert aborted(second.clients[0])


def test_replay_across_sessions_of_an_old_key_advertisement():
    consortium = Consortium(small_plan(5))
    vectors = inputs(consortium.plan)
    first, _, _ = record(consortium, vectors, "first")
    old_row = _row(first.server.opening()[0][3])
    second = Exchange([consortium.client(i) for i in range(5)], consortium.server())
    second.tamper = only(VICTIM, lambda m: changed(m, keys=dict(told(m).keys) | {3: old_row}))
    second.advertise()
    second.begin(vectors)
    # The old keys are signed well, but nobody who knows them answers to the victim's new key.
    second.tamper = lambda _, message: message
    with pytest.raises(RemoteProtocolError) as caught:
        second.step()
    assert caught.value.peer in (VICTIM, 3)


def test_replay_across_sessions_of_members_messages():
    consortium = Consortium(small_plan(5))
    vectors = inputs(consortium.plan)
    _, sent, _ = record(consortium, vectors, "first")
    second = Exchange([consortium.client(i) for i in range(5)], consortium.server())
    second.advertise()
    second.begin(vectors)
    for index in (1, VICTIM):
        drop = second.server.receive(index, sent[0][index])
        assert drop.reason is DropoutReason.BAD_SIGNATURE


def test_replay_across_sessions_of_consistency_signatures():
    consortium = Consortium(small_plan(5))
    vectors = inputs(consortium.plan)
    _, _, heard = record(consortium, vectors, "first")
    second = Exchange([consortium.client(i) for i in range(5)], consortium.server())
    second.advertise()
    second.begin(vectors)
    for _ in range(2):
        second.step()
    second.tamper = only(VICTIM, lambda _: heard[2][VICTIM])
    with pytest.raises(RemoteProtocolError, match="signature"):
        second.step()


def test_replay_control_signatures_without_the_session_key_would_fit():
    # Why statements hold the session key: the contexts of both sessions are equal.
    first, second = Consortium(small_plan(5)), Consortium(small_plan(5))
    assert first.context.of_round(1, MODEL) == second.context.of_round(1, MODEL)


def test_differencing_of_two_cohorts_is_bounded_by_the_smallest_cohort():
    # Control, and an honest limit: two sums of the same inputs differ by the victim's.
    plan = small_plan(5)
    vectors = inputs(plan)
    everybody = Exchange.of(Consortium(plan)).run(vectors)
    without = Exchange.of(Consortium(plan, run_id=b"again")).run(
        vectors, {ServerStep.MASK: [VICTIM]}
    )
    assert np.array_equal(everybody.total - without.total, vectors[VICTIM])
    # A plan in which nobody may be missing leaves nothing to subtract.
    strict = small_plan(5, min_members=5)
    exchange = Exchange.of(Consortium(strict))
    with pytest.raises(TooFewSurvivors, match="plan wants 5"):
        exchange.run(vectors, {ServerStep.MASK: [VICTIM]})


def test_differencing_within_one_round_is_refused():
    plan = small_plan(5, rounds=2)
    exchange = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    exchange.advertise()
    exchange.begin(vectors)
    exchange.finish()
    with pytest.raises(LocalProtocolError, match="larger number"):
        exchange.clients[0].begin_round(1, MODEL, vectors[0])
    assert np.array_equal(exchange.server.result().total, plain_sum(vectors))
