"""The messages of a session: which fields each has, and what may stand in them.

`NAME` is part of what a member signs, and `CODE` of what travels: both outlive a renamed class.

Bodies are msgpack maps with exactly these fields in this order. A table maps member indices
to byte strings of one length. What depends on the plan (who may stand in a table, how long a
vector is) is checked by the sessions, what does not is checked here and in the codec.
"""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from securefl_protocols.primitives.kdf import KEY_BYTES
from securefl_protocols.primitives.sealing import NONCE_BYTES, TAG_BYTES
from securefl_protocols.primitives.shamir import SHARE_BYTES
from securefl_protocols.primitives.signing import SIGNATURE_BYTES
from securefl_protocols.primitives.x25519 import EXCHANGE_KEY_BYTES
from securefl_protocols.wire.context import DIGEST_BYTES
from securefl_protocols.wire.fields import Fields, Octets, Rows, Table, Unsigned

CHECKSUM_BYTES = 12
"""A tag, or a sum of tags."""

CONTRIBUTION_BYTES = 32
"""A member's part of the key of the tag; sealed beside its shares."""

KEY_ENTRY_BYTES = 2 * EXCHANGE_KEY_BYTES + SIGNATURE_BYTES
"""Row of a key list: encryption key, masking key, signature of the AdvertiseKeys message."""

COMMITTED_ENTRY_BYTES = 2 * EXCHANGE_KEY_BYTES + SIGNATURE_BYTES + DIGEST_BYTES
"""Row of a list of committed keys: the same, then the commitment to a value of the draw."""

SECRET_BOX_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES
"""A sealed box with the secret of the checksums: nonce, then the ciphertext."""

SEALED_BYTES = NONCE_BYTES + 2 * SHARE_BYTES + CONTRIBUTION_BYTES + TAG_BYTES
"""A sealed box: nonce, then the ciphertext of seed share, key share and contribution."""
DEAL_BYTES = 2 * DIGEST_BYTES + SEALED_BYTES
"""Row of dealt shares: commitments to the seed share and the key share, sealed box."""

SCALAR_BYTES = 32
"""A scalar of ristretto255."""

_BOX = Octets(SECRET_BOX_BYTES, SECRET_BOX_BYTES, absent=True)


@dataclass(frozen=True, slots=True)
class AdvertiseKeys:
    """Member, once a session: its public keys for sealing and for masking."""

    NAME: ClassVar[str] = "AdvertiseKeys"
    CODE: ClassVar[int] = 1
    FIELDS: ClassVar[Fields] = {
        "encryption": Octets(EXCHANGE_KEY_BYTES, EXCHANGE_KEY_BYTES),
        "masking": Octets(EXCHANGE_KEY_BYTES, EXCHANGE_KEY_BYTES),
    }
    encryption: bytes
    masking: bytes


@dataclass(frozen=True, slots=True)
class ShareKeys:
    """Member, first of a round: what its neighbours need should it drop out, or survive."""

    NAME: ClassVar[str] = "ShareKeys"
    CODE: ClassVar[int] = 2
    FIELDS: ClassVar[Fields] = {
        "round": Unsigned(),
        "seed_commitment": Octets(DIGEST_BYTES, DIGEST_BYTES),
        "escrow": Octets(0, None),
        "deals": Table(DEAL_BYTES),
    }
    round: int
    seed_commitment: bytes
    escrow: bytes
    deals: Rows


@dataclass(frozen=True, slots=True)
class MaskedInput:
    """Member: its input, and its tag, under all their masks.

    The tag comes with the check of its key, so that two keys in one round are noticed.
    """

    NAME: ClassVar[str] = "MaskedInput"
    CODE: ClassVar[int] = 3
    FIELDS: ClassVar[Fields] = {
        "round": Unsigned(),
        "tag_check": Octets(DIGEST_BYTES, DIGEST_BYTES),
        "tag": Octets(CHECKSUM_BYTES, CHECKSUM_BYTES),
        "vector": Octets(1, None),
    }
    round: int
    tag_check: bytes
    tag: bytes
    vector: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Consistency:
    """Member: the survivors and their masked inputs as it was told them, under its signature."""

    NAME: ClassVar[str] = "Consistency"
    CODE: ClassVar[int] = 4
    FIELDS: ClassVar[Fields] = {
        "round": Unsigned(),
        "survivors": Octets(1, None),
        "inputs": Octets(DIGEST_BYTES, DIGEST_BYTES),
    }
    round: int
    survivors: bytes
    inputs: bytes


@dataclass(frozen=True, slots=True)
class Unmask:
    """Member: one share a peer, of the seed of a survivor or the key of a dropout."""

    NAME: ClassVar[str] = "Unmask"
    CODE: ClassVar[int] = 5
    FIELDS: ClassVar[Fields] = {
        "round": Unsigned(),
        "seed_shares": Table(SHARE_BYTES),
        "key_shares": Table(SHARE_BYTES),
    }
    round: int
    seed_shares: Rows
    key_shares: Rows


@dataclass(frozen=True, slots=True)
class LayeredInput(MaskedInput):
    """A masked input with noise that may be taken back, and the anchor of its layers' keys."""

    NAME: ClassVar[str] = "LayeredInput"
    CODE: ClassVar[int] = 6
    FIELDS: ClassVar[Fields] = {**MaskedInput.FIELDS, "anchor": Octets(KEY_BYTES, KEY_BYTES)}
    anchor: bytes


@dataclass(frozen=True, slots=True)
class LayeredUnmask(Unmask):
    """The shares, and the link that opens the member's needless layers; or no bytes."""

    NAME: ClassVar[str] = "LayeredUnmask"
    CODE: ClassVar[int] = 7
    FIELDS: ClassVar[Fields] = {**Unmask.FIELDS, "link": Octets(KEY_BYTES, KEY_BYTES, True)}
    link: bytes


@dataclass(frozen=True, slots=True)
class CommittedKeys(AdvertiseKeys):
    """The keys, and the commitment to the member's value in the draw of the graph."""

    NAME: ClassVar[str] = "CommittedKeys"
    CODE: ClassVar[int] = 8
    FIELDS: ClassVar[Fields] = {
        **AdvertiseKeys.FIELDS,
        "commitment": Octets(DIGEST_BYTES, DIGEST_BYTES),
    }
    commitment: bytes


@dataclass(frozen=True, slots=True)
class Reveal:
    """Member: its value in the draw; of one member, the secret of the checksums for each other."""

    NAME: ClassVar[str] = "Reveal"
    CODE: ClassVar[int] = 9
    FIELDS: ClassVar[Fields] = {
        "value": Octets(KEY_BYTES, KEY_BYTES),
        "boxes": Table(SECRET_BOX_BYTES),
    }
    value: bytes
    boxes: Rows


@dataclass(frozen=True, slots=True)
class ProvenConsistency(Consistency):
    """The same where norms are proved, with the proof of the member's own input."""

    NAME: ClassVar[str] = "ProvenConsistency"
    CODE: ClassVar[int] = 10
    FIELDS: ClassVar[Fields] = {**Consistency.FIELDS, "proof": Octets(1, None)}
    proof: bytes


@dataclass(frozen=True, slots=True)
class KeyList:
    """Coordinator: who advertised keys, and the keys of the member's neighbours."""

    NAME: ClassVar[str] = "KeyList"
    CODE: ClassVar[int] = 65
    FIELDS: ClassVar[Fields] = {"cohort": Octets(1, None), "keys": Table(KEY_ENTRY_BYTES)}
    cohort: bytes
    keys: Rows


@dataclass(frozen=True, slots=True)
class Shares:
    """Coordinator: who shared, and what the member's neighbours dealt to it."""

    NAME: ClassVar[str] = "Shares"
    CODE: ClassVar[int] = 66
    FIELDS: ClassVar[Fields] = {
        "round": Unsigned(),
        "cohort": Octets(1, None),
        "deals": Table(DEAL_BYTES),
    }
    round: int
    cohort: bytes
    deals: Rows


@dataclass(frozen=True, slots=True)
class SurvivorSet:
    """Coordinator: whose masked inputs are in the sum, with the SHA-256 of each body."""

    NAME: ClassVar[str] = "SurvivorSet"
    CODE: ClassVar[int] = 67
    FIELDS: ClassVar[Fields] = {"round": Unsigned(), "survivors": Table(DIGEST_BYTES)}
    round: int
    survivors: Rows


@dataclass(frozen=True, slots=True)
class Signatures:
    """Coordinator: the neighbours' signatures over the survivor set."""

    NAME: ClassVar[str] = "Signatures"
    CODE: ClassVar[int] = 68
    FIELDS: ClassVar[Fields] = {"round": Unsigned(), "signatures": Table(SIGNATURE_BYTES)}
    round: int
    signatures: Rows


@dataclass(frozen=True, slots=True)
class RoundSum:
    """Coordinator: the sum of the inputs, and that of the tags."""

    NAME: ClassVar[str] = "RoundSum"
    CODE: ClassVar[int] = 69
    FIELDS: ClassVar[Fields] = {
        "round": Unsigned(),
        "tag": Octets(CHECKSUM_BYTES, CHECKSUM_BYTES),
        "total": Octets(1, None),
    }
    round: int
    tag: bytes
    total: bytes


@dataclass(frozen=True, slots=True)
class LayeredSurvivors(SurvivorSet):
    """The survivors with the SHA-256 of each body, and the anchor in it."""

    NAME: ClassVar[str] = "LayeredSurvivors"
    CODE: ClassVar[int] = 70
    FIELDS: ClassVar[Fields] = {"round": Unsigned(), "survivors": Table(DIGEST_BYTES + KEY_BYTES)}


@dataclass(frozen=True, slots=True)
class LayeredSum(RoundSum):
    """The sum, and the links that survivors revealed."""

    NAME: ClassVar[str] = "LayeredSum"
    CODE: ClassVar[int] = 71
    FIELDS: ClassVar[Fields] = {**RoundSum.FIELDS, "links": Table(KEY_BYTES)}
    links: Rows


@dataclass(frozen=True, slots=True)
class CommittedKeyList(KeyList):
    """The keys of the whole cohort, each with its member's commitment."""

    NAME: ClassVar[str] = "CommittedKeyList"
    CODE: ClassVar[int] = 72
    FIELDS: ClassVar[Fields] = {"cohort": Octets(1, None), "keys": Table(COMMITTED_ENTRY_BYTES)}


@dataclass(frozen=True, slots=True)
class GraphDraw:
    """Coordinator: the value of every member of the cohort, and the receiver's box."""

    NAME: ClassVar[str] = "GraphDraw"
    CODE: ClassVar[int] = 73
    FIELDS: ClassVar[Fields] = {"values": Table(KEY_BYTES), "box": _BOX}
    values: Rows
    box: bytes


@dataclass(frozen=True, slots=True)
class ProvenSignatures(Signatures):
    """The signatures of all survivors, and all their norm proofs, ascending and joined."""

    NAME: ClassVar[str] = "ProvenSignatures"
    CODE: ClassVar[int] = 74
    FIELDS: ClassVar[Fields] = {**Signatures.FIELDS, "proofs": Octets(1, None)}
    proofs: bytes


@dataclass(frozen=True, slots=True)
class ProvenSum(RoundSum):
    """The sum, and the sum of what blinded the commitments in the norm proofs."""

    NAME: ClassVar[str] = "ProvenSum"
    CODE: ClassVar[int] = 75
    FIELDS: ClassVar[Fields] = {**RoundSum.FIELDS, "blinding": Octets(SCALAR_BYTES, SCALAR_BYTES)}
    blinding: bytes


MemberMessage: TypeAlias = AdvertiseKeys | Reveal | ShareKeys | MaskedInput | Consistency | Unmask
CoordinatorMessage: TypeAlias = KeyList | GraphDraw | Shares | SurvivorSet | Signatures | RoundSum
Message: TypeAlias = MemberMessage | CoordinatorMessage
