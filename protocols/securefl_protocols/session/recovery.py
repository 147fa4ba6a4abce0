"""What a dropout's neighbours give back: its masking key, or its keys of one round.

A session of one round shares the masking key itself (Bonawitz et al. 2017). In a session of
many rounds that key would open the earlier rounds too, whose self masks are public by then.
There a member draws an escrow key for every round, shares that, and leaves its pairwise mask
keys of the round with the coordinator, sealed under the escrow key. Rebuilding it gives the
keys of that round and of no other: they are outputs of HKDF under the context of the round.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from securefl_protocols.primitives.entropy import Entropy, draw
from securefl_protocols.primitives.errors import DisputedPair, RemoteProtocolError
from securefl_protocols.primitives.kdf import KEY_BYTES, derive_key, index_bytes
from securefl_protocols.primitives.sealing import NONCE_BYTES, TAG_BYTES, seal, unseal
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.session.masking import pairwise_mask_key
from securefl_protocols.wire.context import DIGEST_BYTES, labelled_digest

ESCROW_COMMITMENT_LABEL = b"securefl/2/escrow commitment"
ESCROW_BOX_LABEL = b"securefl/2/escrow box"
PAIR_CHECK_LABEL = b"securefl/2/pair key check"
PAIR_CHECK_BYTES = 16


@dataclass(frozen=True, slots=True)
class ShareDistribution:
    """One member's keys in one round, as the coordinator sees them.

    Attributes:
        context: 32 bytes, the context of the round.
        member: Index of the member.
        masking: 32 bytes, its X25519 public masking key.
        neighbours: Its neighbours that advertised keys, ascending.
        escrow: What it left with the coordinator for the round.
    """

    context: bytes
    member: int
    masking: bytes
    neighbours: tuple[int, ...]
    escrow: bytes


class Recovery(Protocol):
    """How the pairwise masks of a dropout are removed."""

    def deal(
        self,
        dealing: ShareDistribution,
        key: ExchangeKey,
        pairs: Mapping[int, bytes],
        entropy: Entropy,
    ) -> tuple[bytes, bytes]:
        """Return the 32-byte secret to share and the escrow to leave with the coordinator."""

    def escrow_bytes(self, neighbours: int) -> int:
        """Return how long the escrow of a member with that many neighbours is."""

    def pair_keys(
        self, dropout: ShareDistribution, secret: bytes, survivors: Mapping[int, ShareDistribution]
    ) -> dict[int, bytes]:
        """Return the dropout's mask key with each of its surviving neighbours.

        Raises:
            RemoteProtocolError: The secret is not the one that the dropout promised.
            DisputedPair: The dropout and a survivor promised different mask keys.
        """


class MaskingKeyRecovery:
    """For a session of one round: the masking key is shared, and rebuilt for a dropout."""

    def deal(
        self,
        dealing: ShareDistribution,
        key: ExchangeKey,
        pairs: Mapping[int, bytes],
        entropy: Entropy,
    ) -> tuple[bytes, bytes]:
        """Share the masking key; nothing is left with the coordinator."""
        del dealing, pairs, entropy
        return key.private_bytes(), b""

    def escrow_bytes(self, neighbours: int) -> int:
        """Return zero, whatever the number of neighbours."""
        del neighbours
        return 0

    def pair_keys(
        self, dropout: ShareDistribution, secret: bytes, survivors: Mapping[int, ShareDistribution]
    ) -> dict[int, bytes]:
        """Agree on the keys in the dropout's place, with its rebuilt masking key."""
        key = ExchangeKey(secret)
        if key.public != dropout.masking:
            raise RemoteProtocolError("the rebuilt key is not the advertised one", dropout.member)
        return {
            index: pairwise_mask_key(
                key.shared_secret(survivor.masking, peer=index),
                context=dropout.context,
                member=dropout.member,
                neighbour=index,
            )
            for index, survivor in survivors.items()
        }


class EscrowRecovery:
    """For a session of many rounds: a key is shared that opens the keys of one round.

    The escrow is `commitment (32) | nonce (12) | sealed keys | check of each key (16)`, keys
    and checks in the order of the neighbours. A check is a hash of a mask key; both ends of a
    pair leave one, so that a wrong key is noticed before it spoils the sum.
    """

    def deal(
        self,
        dealing: ShareDistribution,
        key: ExchangeKey,
        pairs: Mapping[int, bytes],
        entropy: Entropy,
    ) -> tuple[bytes, bytes]:
        """Draw an escrow key and seals the member's mask keys of the round under it."""
        del key
        secret, nonce = draw(entropy, KEY_BYTES), draw(entropy, NONCE_BYTES)
        keys = b"".join(pairs[neighbour] for neighbour in dealing.neighbours)
        checks = (_pair_check(dealing, pairs[neighbour]) for neighbour in dealing.neighbours)
        sealed = seal(_box_key(dealing, secret), keys, _bound(dealing), nonce)
        return secret, b"".join((_commitment(dealing, secret), nonce, sealed, *checks))

    def escrow_bytes(self, neighbours: int) -> int:
        """Return the bytes of commitment, nonce, sealed keys and checks."""
        each = KEY_BYTES + PAIR_CHECK_BYTES
        return DIGEST_BYTES + NONCE_BYTES + TAG_BYTES + neighbours * each

    def pair_keys(
        self, dropout: ShareDistribution, secret: bytes, survivors: Mapping[int, ShareDistribution]
    ) -> dict[int, bytes]:
        """Open the escrow and compares each key with what the survivor promised."""
        if not hmac.compare_digest(_commitment(dropout, secret), dropout.escrow[:DIGEST_BYTES]):
            raise RemoteProtocolError("the rebuilt key is not the promised one", dropout.member)
        keys = _open_escrow(dropout, secret)
        for index, survivor in survivors.items():
            if _pair_check(dropout, keys[index]) != _promised_check(survivor, dropout.member):
                peers = dropout.member, index
                raise DisputedPair(f"{peers[0]} and {index} differ on their mask key", peers)
        return {index: keys[index] for index in survivors}


def recovery_for(rounds: int) -> Recovery:
    """Return how dropouts are recovered in a session that serves so many rounds."""
    return MaskingKeyRecovery() if rounds == 1 else EscrowRecovery()


def _open_escrow(dropout: ShareDistribution, secret: bytes) -> dict[int, bytes]:
    start = DIGEST_BYTES + NONCE_BYTES
    end = start + KEY_BYTES * len(dropout.neighbours) + TAG_BYTES
    nonce, sealed = dropout.escrow[DIGEST_BYTES:start], dropout.escrow[start:end]
    key = _box_key(dropout, secret)
    keys = unseal(key, sealed, _bound(dropout), nonce, peer=dropout.member)
    starts = range(0, len(keys), KEY_BYTES)
    return {n: keys[at : at + KEY_BYTES] for n, at in zip(dropout.neighbours, starts, strict=True)}


def _promised_check(survivor: ShareDistribution, neighbour: int) -> bytes:
    checks = len(survivor.neighbours) * PAIR_CHECK_BYTES
    start = len(survivor.escrow) - checks + survivor.neighbours.index(neighbour) * PAIR_CHECK_BYTES
    return survivor.escrow[start : start + PAIR_CHECK_BYTES]


def _bound(dealing: ShareDistribution) -> bytes:
    return dealing.context + index_bytes(dealing.member)


def _box_key(dealing: ShareDistribution, secret: bytes) -> bytes:
    return derive_key(secret, label=ESCROW_BOX_LABEL, context=_bound(dealing))


def _commitment(dealing: ShareDistribution, secret: bytes) -> bytes:
    return labelled_digest(ESCROW_COMMITMENT_LABEL, _bound(dealing), secret)


def _pair_check(dealing: ShareDistribution, key: bytes) -> bytes:
    return labelled_digest(PAIR_CHECK_LABEL, dealing.context, key)[:PAIR_CHECK_BYTES]
