"""Dealing shares: commitments to every share, and the sealed box that carries two of them.

The dealer signs a commitment to each share (SHA-256; the shares are uniform, so it hides
them). The holder checks its shares when it opens the box, the coordinator checks a share
when it is revealed: a bad share has one culprit, and shares that are all good but rebuild no
committed secret have another, the dealer.
"""

import hmac
from dataclasses import dataclass
from typing import Self

from securefl_protocols.primitives.entropy import Entropy, draw
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.kdf import derive_key, index_bytes
from securefl_protocols.primitives.sealing import NONCE_BYTES, seal, unseal
from securefl_protocols.primitives.shamir import SHARE_BYTES, share_from_bytes
from securefl_protocols.wire.context import DIGEST_BYTES, labelled_digest
from securefl_protocols.wire.messages import SEALED_BYTES

SEED_COMMITMENT_LABEL = b"securefl/2/seed commitment"
SEED_SHARE_LABEL = b"securefl/2/seed share commitment"
KEY_SHARE_LABEL = b"securefl/2/key share commitment"
BOX_LABEL = b"securefl/2/share box"

OWN_BOX = bytes(SEALED_BYTES)
"""Stands in a member's deal to itself: it keeps that share and sends it to nobody."""


@dataclass(frozen=True, slots=True)
class Route:
    """Between whom a box travels, in which round.

    Attributes:
        context: 32 bytes, the context of the round.
        dealer: Index of the member whose secrets are shared.
        holder: Index of the member that holds the shares.
    """

    context: bytes
    dealer: int
    holder: int

    def bound(self) -> bytes:
        """Return the 40 bytes that keys, boxes and commitments are bound to."""
        return self.context + index_bytes(self.dealer) + index_bytes(self.holder)


@dataclass(frozen=True, slots=True, repr=False)
class DistributedShares:
    """What a holder gets from a dealer.

    Attributes:
        seed_share: 36 bytes, of the self mask seed.
        key_share: 36 bytes, of the masking key, or of the escrow key of the round.
        contribution: 32 bytes, the dealer's part of the key of the tag.
    """

    seed_share: bytes
    key_share: bytes
    contribution: bytes

    def commitments(self, route: Route) -> bytes:
        """Return the 64 bytes of the commitments to both shares."""
        seed = share_commitment(SEED_SHARE_LABEL, route, self.seed_share)
        return seed + share_commitment(KEY_SHARE_LABEL, route, self.key_share)

    def seal(self, route: Route, secret: bytes, entropy: Entropy) -> bytes:
        """Return the box: a nonce, then the sealed shares and contribution."""
        nonce = draw(entropy, NONCE_BYTES)
        plaintext = self.seed_share + self.key_share + self.contribution
        return nonce + seal(_box_key(route, secret), plaintext, BOX_LABEL + route.bound(), nonce)

    @classmethod
    def unseal(cls, route: Route, secret: bytes, deal: bytes) -> Self:
        """Open a row of dealt shares and checks it against its commitments.

        Args:
            route: From whom, to whom, in which round.
            secret: Their 32-byte X25519 secret of the encryption keys.
            deal: The row: commitments, then the box.

        Raises:
            RemoteProtocolError: The box does not open or holds other shares than the dealer
                committed to.
        """
        commitments, box = deal[: 2 * DIGEST_BYTES], deal[2 * DIGEST_BYTES :]
        nonce, sealed = box[:NONCE_BYTES], box[NONCE_BYTES:]
        bound = BOX_LABEL + route.bound()
        plain = unseal(_box_key(route, secret), sealed, bound, nonce, peer=route.dealer)
        shares = plain[:SHARE_BYTES], plain[SHARE_BYTES : 2 * SHARE_BYTES]
        dealt = cls(*shares, plain[2 * SHARE_BYTES :])
        if not hmac.compare_digest(dealt.commitments(route), commitments):
            raise RemoteProtocolError("a share is not the one committed to", route.dealer)
        for share in shares:
            share_from_bytes(share, peer=route.dealer)
        return dealt


def share_commitment(label: bytes, route: Route, share: bytes) -> bytes:
    """Return the commitment to one share: 32 bytes."""
    return labelled_digest(label, route.bound(), share)


def seed_commitment(context: bytes, dealer: int, seed: bytes) -> bytes:
    """Return the commitment to a self mask seed: 32 bytes."""
    return labelled_digest(SEED_COMMITMENT_LABEL, context, index_bytes(dealer), seed)


def _box_key(route: Route, secret: bytes) -> bytes:
    return derive_key(secret, label=BOX_LABEL, context=route.bound())
