"""What a member signs: the kind of message, the context, itself, its session key, the body.

The session key in it (the encryption key that the member drew for this session alone) is why
no signature is of use in another session, even one of the same run, round, model and plan.

Before anything is unmasked, every member signs whose masked inputs are summed and which ones.
Whoever signs another input later, once the sum is known, has no such signatures for it.
"""

from hashlib import sha256

from securefl_protocols.primitives.kdf import index_bytes
from securefl_protocols.primitives.signing import SigningKey, verify
from securefl_protocols.wire.codec import encode_member, encode_parts
from securefl_protocols.wire.context import labelled_digest
from securefl_protocols.wire.fields import Rows
from securefl_protocols.wire.messages import Consistency, MemberMessage
from securefl_protocols.wire.roster import members_to_bits

INPUTS_LABEL = b"securefl/2/masked inputs"


def signature_domain(kind: type[MemberMessage]) -> bytes:
    """Return the Ed25519 domain of a kind of message."""
    return b"securefl/2/" + kind.NAME.encode()


def statement(context: bytes, sender: int, session_key: bytes, body_digest: bytes) -> bytes:
    """Return the 100 bytes that are signed in the domain of the message.

    Args:
        context: 32 bytes, the context of the round.
        sender: Index of the member that signs.
        session_key: 32 bytes, its X25519 encryption key of this session.
        body_digest: SHA-256 of the body of the message.
    """
    return context + index_bytes(sender) + session_key + body_digest


def signed_message(
    message: MemberMessage, *, context: bytes, sender: int, session_key: bytes, identity: SigningKey
) -> bytes:
    """Return a member's message as it goes over the wire."""
    return signed_with_digest(
        message, context=context, sender=sender, session_key=session_key, identity=identity
    )[0]


def signed_with_digest(
    message: MemberMessage, *, context: bytes, sender: int, session_key: bytes, identity: SigningKey
) -> tuple[bytes, bytes]:
    """Return a member's message as it goes over the wire, and the SHA-256 of its body."""
    kind, parts, state = type(message), encode_parts(message), sha256()
    for part in parts:
        state.update(part)
    digest = state.digest()
    signed = statement(context, sender, session_key, digest)
    signature = identity.sign(signature_domain(kind), signed)
    return encode_member(kind, sender, signature, parts), digest


def consistency_of(number: int, survivors: Rows, *, members: int) -> Consistency:
    """Return what everybody signs who was told these survivors.

    Args:
        number: Number of the round.
        survivors: For each survivor, the digest of its MaskedInput message.
        members: How many members the roster has.
    """
    rows = b"".join(index_bytes(member) + survivors[member] for member in sorted(survivors))
    inputs = labelled_digest(INPUTS_LABEL, rows)
    return Consistency(number, members_to_bits(survivors, members), inputs)


def check_signature(
    kind: type[MemberMessage],
    signature: bytes,
    body_digest: bytes,
    *,
    context: bytes,
    sender: int,
    session_key: bytes,
    identity: bytes,
) -> None:
    """Check a member's signature against the pinned roster.

    Args:
        kind: The kind of message.
        signature: 64 bytes.
        body_digest: SHA-256 of the body of the message.
        context: 32 bytes, as the checking party computes it.
        sender: Index of the member that is to have signed.
        session_key: Its X25519 encryption key of this session.
        identity: Its pinned Ed25519 public key.

    Raises:
        RemoteProtocolError: The signature does not fit; the sender is its peer.
    """
    signed = statement(context, sender, session_key, body_digest)
    verify(identity, signature, signature_domain(kind), signed, peer=sender)
