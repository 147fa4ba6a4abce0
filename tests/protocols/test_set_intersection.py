"""Private set intersection: the common items alone; hashing to the curve as published."""

import itertools

import pytest

from securefl_protocols.primitives.errors import LocalProtocolError, PlanError, RemoteProtocolError
from securefl_protocols.primitives.hash_to_curve import (
    add,
    hash_to_curve,
    hash_to_field,
    map_to_curve,
)
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.session.set_intersection import (
    IntersectionMember,
    IntersectionPlan,
    combined,
)

DOMAIN = b"QUUX-V01-CS02-with-curve25519_XMD:SHA-512_ELL2_RO_"
PUBLISHED = {
    b"": (
        "2de3780abb67e861289f5749d16d3e217ffa722192d16bbd9d1bfb9d112b98c0",
        "3b5dc2a498941a1033d176567d457845637554a2fe7a3507d21abd1c1bd6e878",
    ),
    b"abc": (
        "2b4419f1f2d48f5872de692b0aca72cc7b0a60915dd70bde432e826b6abc526d",
        "1b8235f255a268f0a6fa8763e97eb3d22d149343d495da1160eff9703f2d07dd",
    ),
    b"abcdef0123456789": (
        "68ca1ea5a6acf4e9956daa101709b1eee6c1bb0df1de3b90d4602382a104c036",
        "2a375b656207123d10766e68b938b1812a4a6625ff83cb8d5e86f58a4be08353",
    ),
}
"""Message to the point, RFC 9380, appendix J.4.1."""

SETS = (
    {b"milk", b"tea", b"rye", b"only of 0"},
    {b"tea", b"milk", b"rice", b"rye"},
    {b"rice", b"milk", b"salt"},
)


def plan(**changes):
    return IntersectionPlan(
        **{"members": 3, "size": 6, "least": 3, "context": bytes(32), **changes}
    )


def run(agreed, sets):
    """All steps among members; the lists that each step made, by who made whose."""
    members = [
        IntersectionMember(agreed, sorted(items), bytes([n + 1]) * 32)
        for n, items in enumerate(sets)
    ]
    seen, closed = {}, []
    for owner, member in enumerate(members):
        points = seen[owner, owner] = member.opened()
        for step in range(1, len(members)):
            hop = (owner + step) % len(members)
            points = seen[owner, hop] = members[hop].passed_on(points, owner)
        closed.append(member.closed(points))
    values = combined(agreed, [sorted(points) for points in closed])
    found = [dict(member.common(own, values)) for member, own in zip(members, closed, strict=True)]
    return found, seen, closed, values


@pytest.mark.parametrize("message", PUBLISHED)
def test_hashing_gives_the_published_points(message):
    """Up to the cofactor 8, which X25519 clears."""
    first, second = hash_to_field(message, DOMAIN)
    point = add(map_to_curve(first), map_to_curve(second))
    assert hash_to_curve(message, DOMAIN) == point[0].to_bytes(32, "little")
    for _ in range(3):
        point = add(point, point)
    assert tuple(f"{value:064x}" for value in point) == PUBLISHED[message]


def test_multiplication_of_hashed_points_commutes():
    """What the protocol rests on, with the library's scalar multiplication."""
    point = hash_to_curve(b"milk", DOMAIN)
    one, other = ExchangeKey(bytes(range(32))), ExchangeKey(bytes(range(1, 33)))
    assert one.shared_secret(other.shared_secret(point)) == other.shared_secret(
        one.shared_secret(point)
    )


def test_a_point_and_its_negative_have_no_sum():
    """The neutral element has no coordinates."""
    x, y = map_to_curve(5)
    assert add((x, y), (x, (1 << 255) - 19 - y)) is None


def test_items_that_all_hold_are_found():
    """By each of them, under one value, and no other item."""
    found, _, _, values = run(plan(), SETS)
    assert [set(one) for one in found] == [{b"milk"}] * 3
    assert {value for one in found for value in one.values()} == set(values)
    assert len(values) == 1


def test_items_of_two_members_are_found():
    """A member that does not hold one learns that there is one, and not which."""
    found, _, _, values = run(plan(least=2), SETS)
    assert [set(one) for one in found] == [
        {b"milk", b"tea", b"rye"},
        {b"milk", b"tea", b"rye", b"rice"},
        {b"milk", b"rice"},
    ]
    assert len(values) == 4


def test_no_list_on_the_way_meets_another():
    """Only under all secrets are values equal, and a member has none but its own under all."""
    _, seen, closed, _ = run(plan(), SETS)
    for (one, first), (other, second) in itertools.combinations(seen.items(), 2):
        assert not set(first) & set(second), (one, other)
    for owner, hop in seen:
        for own in closed:
            assert not set(seen[owner, hop]) & set(own)


def test_lists_do_not_tell_how_many_items():
    """An empty set sends as many points as a full one."""
    found, seen, _, _ = run(plan(), (SETS[0], SETS[1], set()))
    assert {len(points) for points in seen.values()} == {6}
    assert [set(one) for one in found] == [set()] * 3


def test_a_member_can_begin_anew():
    """The same secret and set give the same messages; the order is not that of the items."""
    one, again = (IntersectionMember(plan(), sorted(SETS[0]), b"\7" * 32) for _ in range(2))
    assert one.opened() == again.opened()
    orders = {
        tuple(IntersectionMember(plan(), sorted(SETS[0]), bytes([n]) * 32)._entries).index(b"\0tea")
        for n in range(1, 20)
    }
    assert len(orders) > 2


def test_another_context_gives_other_points():
    """Two alignments cannot be laid over each other."""
    secret = b"\7" * 32
    one = IntersectionMember(plan(), sorted(SETS[0]), secret).opened()
    other = IntersectionMember(plan(context=b"\1" * 32), sorted(SETS[0]), secret).opened()
    assert not set(one) & set(other)


@pytest.mark.parametrize(
    "changes",
    [{"members": 1}, {"least": 1}, {"least": 4}, {"size": 0}, {"size": 1 << 23}, {"context": b""}],
)
def test_plans_that_are_refused(changes):
    """Among them: an item of one member alone would be public."""
    with pytest.raises(PlanError):
        plan(**changes)


def test_sets_that_are_refused():
    """Too many items, and one twice."""
    with pytest.raises(LocalProtocolError, match="do not fit"):
        IntersectionMember(plan(size=3), sorted(SETS[0]), bytes(32))
    with pytest.raises(LocalProtocolError, match="twice"):
        IntersectionMember(plan(), [b"tea", b"tea"], bytes(32))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda points: points[:-1], "6 points"),
        (lambda points: [*points[:-1], points[0]], "twice"),
        (lambda points: [*points[:-1], points[0][:31]], "6 points"),
        (lambda points: [*points[:-1], bytes(32)], "low order"),
        (lambda points: [*points[:-1], b"\xff" * 32], "not below"),
    ],
)
def test_lists_that_are_refused(change, reason):
    """By every step that takes one; the peer is named."""
    member = IntersectionMember(plan(), sorted(SETS[0]), bytes(32))
    bad = change(IntersectionMember(plan(), sorted(SETS[1]), b"\1" * 32).opened())
    for step in (member.passed_on, member.closed):
        with pytest.raises(RemoteProtocolError, match=reason) as caught:
            step(bad, 1)
        assert caught.value.peer == 1


def test_the_combiner_takes_whole_lists_alone():
    """Of each member one, of the agreed length."""
    _, _, closed, _ = run(plan(), SETS)
    with pytest.raises(LocalProtocolError, match="2 lists of 3"):
        combined(plan(), closed[:2])
    with pytest.raises(RemoteProtocolError, match="twice"):
        combined(plan(), [closed[0], closed[1], closed[0][:1] * 6])
