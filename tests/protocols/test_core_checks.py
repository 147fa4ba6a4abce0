"""Every check of a member's round, of unmasking and of the plan, at its boundary."""

from dataclasses import replace

import numpy as np
import pytest

from securefl_protocols.primitives.errors import (
    LocalProtocolError,
    PlanError,
    RangeError,
    RemoteProtocolError,
    TooFewSurvivors,
)
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.primitives.shamir import combine, share_to_bytes, split
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.unmasking import rebuild, revealed_shares
from securefl_protocols.wire.roster import members_to_bits
from support.session_driver import (
    Consortium,
    Exchange,
    changed,
    entropy_of,
    inputs,
    only,
    small_plan,
    told,
)

VICTIM = 2


def at(steps, plan=None):
    """A session in which so many steps of the first round have ended."""
    exchange = Exchange.of(Consortium(plan or small_plan(7, min_members=5)))
    exchange.advertise()
    exchange.begin(inputs(exchange.server.plan))
    for _ in range(steps):
        exchange.step()
    return exchange


def refused(exchange, change, match):
    exchange.tamper = only(VICTIM, change)
    with pytest.raises(RemoteProtocolError, match=match):
        exchange.step()


# on_shares


def shares_of(message, members):
    deals = {m: row for m, row in told(message).deals.items() if m in members}
    return changed(message, cohort=members_to_bits(members, 7), deals=deals)


def test_fewest_sharers_are_min_members():
    """Five of at least five share; four do not suffice, whatever the threshold says."""
    plan = small_plan(7, min_members=6)
    exchange = at(0, plan)
    refused(exchange, lambda m: shares_of(m, range(5)), "fewer members share")
    exchange = at(0, plan)
    exchange.tamper = only(VICTIM, lambda m: shares_of(m, range(6)))
    exchange.step()
    assert VICTIM in exchange.outbox


def test_fewest_dealing_neighbours_are_the_threshold():
    """Of a sparse graph, where members that share need not be neighbours."""
    plan = replace(small_plan(9, min_members=3), degree=6, threshold=4)
    for kept, enough in ((4, True), (3, False)):
        exchange = at(0, plan)
        near = set(exchange.server.plan.neighbours(VICTIM)[:kept])
        sharers = near | {VICTIM} | (set(range(9)) - set(exchange.server.plan.neighbours(VICTIM)))

        def few(message, sharers=sharers):
            deals = {m: row for m, row in told(message).deals.items() if m in sharers}
            return changed(message, cohort=members_to_bits(sharers, 9), deals=deals)

        exchange.tamper = only(VICTIM, few)
        if enough:
            exchange.step()
            assert VICTIM in exchange.outbox
        else:
            with pytest.raises(RemoteProtocolError, match="neighbours share than the threshold"):
                exchange.step()


@pytest.mark.parametrize("dropped", [0, 6])
def test_deal_of_a_sharer_is_missing(dropped):
    refused(
        at(0),
        lambda m: changed(m, deals={i: r for i, r in told(m).deals.items() if i != dropped}),
        "not those of our sharing neighbours",
    )


def test_deal_of_a_member_that_does_not_share():
    refused(
        at(0),
        lambda m: changed(m, cohort=members_to_bits([0, 1, 2, 3, 4, 5], 7)),
        "not those of our sharing neighbours",
    )


def test_sharer_that_advertised_no_keys():
    exchange = Exchange.of(Consortium(small_plan(7, min_members=5)))
    exchange.advertise(silent=[6])
    exchange.begin(inputs(small_plan(7)))
    refused(
        exchange,
        lambda m: changed(m, cohort=members_to_bits(range(7), 7)),
        "who advertised no keys",
    )


def test_own_shares_are_lost():
    refused(at(0), lambda m: shares_of(m, {0, 1, 3, 4, 5, 6}), "our own shares were lost")


# on_survivors


def survivors_of(message, members):
    rows = {m: r for m, r in told(message).survivors.items() if m in members}
    return changed(message, survivors=rows)


def test_fewest_survivors_are_min_members():
    plan = small_plan(7, min_members=6)
    refused(at(1, plan), lambda m: survivors_of(m, range(5)), "fewer members survive")
    exchange = at(1, plan)
    exchange.tamper = only(VICTIM, lambda m: survivors_of(m, range(6)))
    exchange.step()
    assert VICTIM in exchange.outbox


def test_fewest_surviving_neighbours_are_the_threshold():
    plan = replace(small_plan(9, min_members=3), degree=6, threshold=4)
    for kept, enough in ((4, True), (3, False)):
        exchange = at(1, plan)
        near = exchange.server.plan.neighbours(VICTIM)
        alive = {*near[:kept], *(set(range(9)) - set(near))}
        exchange.tamper = only(VICTIM, lambda m, alive=alive: survivors_of(m, alive))
        if enough:
            exchange.step()
            assert VICTIM in exchange.outbox
        else:
            with pytest.raises(RemoteProtocolError, match="neighbours survive than"):
                exchange.step()


# on_signatures


def signatures_of(message, members):
    rows = {m: r for m, r in told(message).signatures.items() if m in members}
    return changed(message, signatures=rows)


@pytest.mark.parametrize(("signers", "enough"), [(5, True), (4, False)])
def test_fewest_signatures_are_the_threshold(signers, enough):
    exchange = at(2)
    exchange.tamper = only(VICTIM, lambda m: signatures_of(m, range(signers)))
    if enough:
        exchange.step()
        assert VICTIM in exchange.outbox
    else:
        with pytest.raises(RemoteProtocolError, match="signed the survivors than the threshold"):
            exchange.step()


def test_signature_of_a_dropout_does_not_count():
    exchange = at(1)
    exchange.step(silent=[6])
    refused(
        exchange,
        lambda m: changed(m, signatures=dict(told(m).signatures) | {6: bytes(64)}),
        "who is no surviving neighbour",
    )


# on_sum


@pytest.mark.parametrize("length", [4, 28, 36, 64])
def test_sum_of_another_length(length):
    exchange = at(3)
    refused(exchange, lambda m: changed(m, total=bytes(length)), "another length")


# begin_round


@pytest.mark.parametrize("ring", list(RingDtype))
@pytest.mark.parametrize("sign", [1, -1])
def test_largest_input_is_taken_and_one_more_is_not(ring, sign):
    plan = small_plan(5, ring=ring, largest_input=1000)
    client_plan = Exchange.of(Consortium(plan))
    client_plan.advertise()
    vector = np.zeros(8, ring.signed_dtype)
    vector[3] = 1001 * sign
    with pytest.raises(RangeError):
        client_plan.clients[0].begin_round(1, bytes(32), vector.view(ring.dtype))
    vector[3] = 1000 * sign
    assert client_plan.clients[0].begin_round(1, bytes(32), vector.view(ring.dtype))


@pytest.mark.parametrize(
    "vector", [np.zeros(7, "<u4"), np.zeros(9, "<u4"), np.zeros(8, "<u8"), np.zeros((8, 1), "<u4")]
)
def test_input_of_another_shape(vector):
    exchange = Exchange.of(Consortium(small_plan(5)))
    exchange.advertise()
    with pytest.raises(LocalProtocolError, match="coordinates"):
        exchange.clients[0].begin_round(1, bytes(32), vector)


def test_input_is_copied():
    exchange = Exchange.of(Consortium(small_plan(5)))
    exchange.advertise()
    vectors = inputs(small_plan(5))
    before = [v.copy() for v in vectors]
    exchange.begin(vectors)
    exchange.finish()
    assert all(np.array_equal(a, b) for a, b in zip(vectors, before, strict=True))


def test_shares_are_given_away_once():
    exchange = at(3)
    for client in exchange.clients:
        assert client._round._dealt == {}
        assert client._round._vector.size == 0


# unmasking


def dealt(plan, dealers, threshold=None, holders=None):
    """Shares of one secret of each dealer, by holder."""
    secrets = {d: bytes([d + 1]) * 32 for d in dealers}
    unmasked = {h: {} for h in (range(plan.members) if holders is None else holders)}
    for d in dealers:
        shares = split(
            [secrets[d]], plan.members, threshold or plan.threshold, entropy_of(f"dealer {d}")
        )
        for h, rows in unmasked.items():
            rows[d] = share_to_bytes(shares[h][0])
    return secrets, unmasked


def test_secrets_of_several_dealers_are_rebuilt_from_the_lowest_x():
    plan = small_plan(7)
    secrets, unmasked = dealt(plan, [0, 3, 6])
    spoiled = {h: dict(rows) for h, rows in unmasked.items()}
    spoiled[6][3] = bytes(36)  # The largest x, of which no share is needed.
    assert rebuild(plan, revealed_shares([0, 3, 6], spoiled)) == secrets


def test_exactly_the_threshold_of_shares_rebuilds():
    plan = small_plan(7)
    secrets, unmasked = dealt(plan, [1], holders=range(plan.threshold))
    assert rebuild(plan, revealed_shares([1], unmasked)) == secrets
    del unmasked[0]
    with pytest.raises(TooFewSurvivors, match="4 of 5 shares of member 1 are left"):
        rebuild(plan, revealed_shares([1], unmasked))


@pytest.mark.parametrize("culprit", [0, 2, 5])
def test_one_bad_dealer_among_good_ones_is_blamed(culprit):
    """Its shares rebuild no secret; those of the others, rebuilt together with them, do."""
    plan = small_plan(7)
    _, unmasked = dealt(plan, range(7))
    for rows in unmasked.values():
        rows[culprit] = b"\x80\x00\x00\x00" * 9  # Of a limb that has 32 bits.
    with pytest.raises(RemoteProtocolError, match="belong to one secret") as blamed:
        rebuild(plan, revealed_shares(range(7), unmasked))
    assert blamed.value.peer == culprit


def test_single_bad_dealer_is_blamed():
    plan = small_plan(7)
    _, unmasked = dealt(plan, [4])
    for rows in unmasked.values():
        rows[4] = b"\x7f\xff\xff\xff" * 9
    with pytest.raises(RemoteProtocolError) as blamed:
        rebuild(plan, revealed_shares([4], unmasked))
    assert blamed.value.peer == 4


def test_dealers_with_other_holders_are_rebuilt_apart():
    """In a sparse graph the same x belongs to other holders of each dealer."""
    plan = replace(small_plan(9, min_members=3), degree=6, threshold=4).drawn(b"s" * 32)
    revealed, secrets = {}, {}
    for dealer in (0, 4, 8):
        secrets[dealer] = bytes([dealer + 9]) * 32
        shares = split([secrets[dealer]], 6, 4, entropy_of(f"sparse {dealer}"))
        revealed[dealer] = {
            h: share_to_bytes(shares[x - 1][0]) for h, x in plan.holders(dealer).items()
        }
    for h in list(revealed[4])[:2]:
        del revealed[4][h]
    assert rebuild(plan, revealed) == secrets


# shamir


@pytest.mark.parametrize("limb", [0, 1, 8])
def test_limbs_at_the_edge_of_a_secret(limb):
    """A limb has 31 bits, the first of a secret eight; what is larger is no secret."""
    bits = 8 if limb == 0 else 31
    good = np.zeros((1, 1, 9), np.uint32)
    good[0, 0, limb] = (1 << bits) - 1
    assert combine([5], good)[0] == (((1 << bits) - 1) << 31 * (8 - limb)).to_bytes(32, "big")
    bad = good.copy()
    bad[0, 0, limb] = 1 << bits
    with pytest.raises(RemoteProtocolError):
        combine([5], bad)


@pytest.mark.parametrize(("members", "threshold"), [(5, 0), (5, 6), (4097, 2), (0, 0)])
def test_thresholds_that_cannot_be(members, threshold):
    with pytest.raises(LocalProtocolError, match="threshold"):
        split([bytes(32)], members, threshold, entropy_of("edge"))


def test_largest_cohort_can_be_dealt_to():
    shares = split([b"s" * 32], 4096, 1, entropy_of("large"))
    assert shares.shape == (4096, 1, 9)
    assert combine([4096], shares[4095:])[0] == b"s" * 32


def test_own_deal_is_changed():
    """M24: a member knows what it dealt to itself, and refuses another."""

    def change(message):
        deals = dict(told(message).deals)
        deals[VICTIM] = bytes([deals[VICTIM][0] ^ 1]) + deals[VICTIM][1:]
        return changed(message, deals=deals)

    refused(at(0), change, "our deal to ourselves was changed")


# plan

GOOD = {
    "members": 9,
    "threshold": 7,
    "degree": 8,
    "dimension": 4,
    "ring": RingDtype.UINT32,
    "largest_input": 100,
    "rounds": 1,
    "min_members": 5,
    "terms": bytes(32),
}


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"members": 3, "degree": 2, "threshold": 3, "min_members": 3}, {"members": 2}),
        ({"members": 1 << 15, "degree": 8, "largest_input": 1}, {"members": (1 << 15) + 1}),
        ({"min_members": 3}, {"min_members": 2}),
        ({"min_members": 9}, {"min_members": 10}),
        ({"degree": 2, "threshold": 2}, {"degree": 0, "threshold": 1}),
        ({"degree": 8}, {"degree": 9}),
        ({"degree": 8}, {"degree": 10}),
        ({"degree": 4, "threshold": 3}, {"degree": 5, "threshold": 3}),
        ({"degree": 6, "threshold": 4}, {"degree": 6, "threshold": 3}),
        ({"degree": 6, "threshold": 6}, {"degree": 6, "threshold": 7}),
        ({"threshold": 5}, {"threshold": 4}),
        ({"threshold": 9}, {"threshold": 10}),
        ({"dimension": 1}, {"dimension": 0}),
        ({"dimension": 1 << 28}, {"dimension": (1 << 28) + 1}),
        ({"rounds": 1}, {"rounds": 0}),
        ({"rounds": 1 << 20}, {"rounds": (1 << 20) + 1}),
        ({"largest_input": 1}, {"largest_input": 0}),
        ({"largest_input": (2**31 - 1) // 9}, {"largest_input": (2**31 - 1) // 9 + 1}),
        ({"terms": b"t" * 32}, {"terms": b"t" * 31}),
        ({"layers": 0}, {"layers": -1}),
        ({"layers": 4}, {"layers": 5}),
        ({"degree": 6, "threshold": 4}, {"degree": 6, "threshold": 4, "layers": 1}),
        (
            {"degree": 6, "threshold": 4, "graph_seed": b"s" * 32},
            {"degree": 6, "threshold": 4, "graph_seed": b"s" * 31},
        ),
        ({"graph_seed": b""}, {"graph_seed": bytes(32)}),
    ],
)
def test_plan_at_its_limits(good, bad):
    assert SessionPlan(**(GOOD | good)).members == good.get("members", 9)
    with pytest.raises(PlanError):
        SessionPlan(**(GOOD | bad))


@pytest.mark.parametrize("field", [*GOOD, "layers"])
def test_every_number_of_a_plan_is_in_its_digest(field):
    other = {
        "members": 10,
        "threshold": 6,
        "degree": 6,
        "dimension": 5,
        "ring": RingDtype.UINT64,
        "largest_input": 101,
        "rounds": 2,
        "min_members": 6,
        "terms": b"t" * 32,
        "layers": 1,
    }
    changes = {field: other[field]} | ({"degree": 9} if field == "members" else {})
    changes |= {"threshold": 6} if field == "degree" else {}
    assert SessionPlan(**(GOOD | changes)).digest() != SessionPlan(**GOOD).digest()


def test_largest_message_fits_what_the_plan_sends():
    plan = SessionPlan(**(GOOD | {"dimension": 100_000}))
    assert plan.largest_message == 4096 + 400_000
    assert SessionPlan(**GOOD).largest_message == 4096 + 260 * 9
    assert SessionPlan(**(GOOD | {"layers": 1})).largest_message == 4096 + 260 * 9 + 16


@pytest.mark.parametrize("members", [3, 4, 99, 100])
def test_plan_of_a_small_cohort_is_complete(members):
    plan = small_plan(members, largest_input=1)
    assert (plan.degree, plan.threshold) == (members - 1, 2 * members // 3 + 1)
    assert plan.min_members == max(3, plan.threshold)
    assert plan.layers == 0
    layered = small_plan(members, largest_input=1, layered=True)
    assert layered.layers == members - layered.min_members
    assert plan.holders(1) == {i: i + 1 for i in range(members)}


def test_cohort_without_a_safe_sparse_graph_is_complete():
    plan = small_plan(101, largest_input=1, colluding=0.5, dropping=0.3)
    assert plan.complete
    assert plan.threshold == 68


def test_sparse_graph_is_drawn_before_it_is_used():
    """And a complete one is not drawn at all."""
    plan = replace(small_plan(9, min_members=3), degree=6, threshold=4)
    for use in (plan.neighbours, plan.holders):
        with pytest.raises(LocalProtocolError, match="not drawn yet"):
            use(0)
    assert len(plan.drawn(b"s" * 32).neighbours(0)) == 6
    with pytest.raises(LocalProtocolError, match="not to be drawn"):
        small_plan(9, min_members=3).drawn(b"s" * 32)
