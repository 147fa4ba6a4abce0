"""The joint draw of a sparse graph, and the secret of the checksums that travels with it.

Every member commits to a value together with its keys, and reveals it once it has seen the keys
and commitments of the whole cohort. The seed is a hash of all of that. A member whose own value
is in there knows that no party could compute the seed before that value was out, and that the
cohort, all keys and all other values were fixed by then. So a coalition gets one graph from each
session that it gets honest members to open, and cannot look for a good one offline.

The values are derived from the private encryption key: a member that is restarted with the keys
of its session has the same value.
"""

import hmac
from collections.abc import Mapping

from securefl_protocols.primitives.entropy import Entropy, draw
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.kdf import derive_key, index_bytes
from securefl_protocols.primitives.sealing import NONCE_BYTES, seal, unseal
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.wire.context import labelled_digest
from securefl_protocols.wire.fields import Rows

VALUE_LABEL = b"securefl/2/draw value"
COMMITMENT_LABEL = b"securefl/2/draw commitment"
SEED_LABEL = b"securefl/2/graph seed"
CHECKSUM_SECRET_LABEL = b"securefl/2/checksum secret"
SECRET_BOX_LABEL = b"securefl/2/checksum secret box"


def draw_value(key: ExchangeKey, opening: bytes) -> bytes:
    """Return a member's value in the draw: 32 bytes.

    Args:
        key: Its encryption key of the session.
        opening: 32 bytes, the context that the session was opened under.
    """
    return derive_key(key.private_bytes(), label=VALUE_LABEL, context=opening)


def draw_commitment(opening: bytes, member: int, value: bytes) -> bytes:
    """Return the 32 bytes that bind a member to its value, and hide it."""
    return labelled_digest(COMMITMENT_LABEL, opening, index_bytes(member), value)


def graph_seed(opening: bytes, entries: Rows, values: Rows) -> bytes:
    """Return the seed that a cohort has drawn.

    Args:
        opening: 32 bytes, the context that the session was opened under.
        entries: For each member of the cohort its keys, signature and commitment, 160 bytes.
        values: For each member of the cohort, its value.

    Raises:
        RemoteProtocolError: A value is missing, or is not the one that its member committed to.
    """
    if values.keys() != entries.keys():
        raise RemoteProtocolError("the draw has not the values of exactly the cohort")
    for member, value in values.items():
        expected = draw_commitment(opening, member, value)
        if not hmac.compare_digest(expected, entries[member][-len(expected) :]):
            raise RemoteProtocolError("a value of the draw is not the one committed to", member)
    fields = [index_bytes(m) + entries[m] + values[m] for m in sorted(entries)]
    return labelled_digest(SEED_LABEL, opening, *fields)


def checksum_secret(key: ExchangeKey, opening: bytes) -> bytes:
    """Return the secret that the lowest member of the cohort deals to all others: 32 bytes."""
    return derive_key(key.private_bytes(), label=CHECKSUM_SECRET_LABEL, context=opening)


def deal_secret(
    key: ExchangeKey, opening: bytes, dealer: int, others: Mapping[int, bytes], entropy: Entropy
) -> dict[int, bytes]:
    """Seal the secret of the checksums for every other member of the cohort.

    Args:
        key: The dealer's encryption key of the session.
        opening: 32 bytes, the context that the session was opened under.
        dealer: Its index.
        others: The public encryption key of each other member.
        entropy: Source of one nonce each, in ascending order of the members.

    Returns:
        60 bytes for each: nonce and ciphertext.

    Raises:
        RemoteProtocolError: A key is a point of low order.
    """
    secret, boxes = checksum_secret(key, opening), {}
    for member in sorted(others):
        route, nonce = _route(opening, dealer, member), draw(entropy, NONCE_BYTES)
        shared = key.shared_secret(others[member], peer=member)
        boxes[member] = nonce + seal(_box_key(shared, route), secret, route, nonce)
    return boxes


def open_secret(
    key: ExchangeKey, opening: bytes, *, dealer: int, member: int, public: bytes, box: bytes
) -> bytes:
    """Open the box that the dealer sealed for a member.

    Raises:
        RemoteProtocolError: It does not open.
    """
    route, nonce = _route(opening, dealer, member), box[:NONCE_BYTES]
    shared = key.shared_secret(public, peer=dealer)
    return unseal(_box_key(shared, route), box[NONCE_BYTES:], route, nonce, peer=dealer)


def _route(opening: bytes, dealer: int, member: int) -> bytes:
    return SECRET_BOX_LABEL + opening + index_bytes(dealer) + index_bytes(member)


def _box_key(shared: bytes, route: bytes) -> bytes:
    return derive_key(shared, label=SECRET_BOX_LABEL, context=route[len(SECRET_BOX_LABEL) :])
