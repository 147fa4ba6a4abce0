"""What every signature, key and sealed box of a session is bound to.

Each member computes the context from what it agreed to and from the model it really holds.
A coordinator that sends different models, plans or rounds to different members therefore
gets members that do not understand each other (Pasquini et al. 2022, "Eluding secure
aggregation in federated learning via model inconsistency", section 6).
"""

import hashlib
from dataclasses import dataclass

from securefl_protocols.primitives.errors import LocalProtocolError
from securefl_protocols.primitives.kdf import index_bytes

DIGEST_BYTES = 32
SESSION_LABEL = b"securefl/2/session"
_LARGEST_ROUND = (1 << 32) - 1
_LARGEST_RUN_ID = 256


def labelled_digest(label: bytes, *fields: bytes | memoryview) -> bytes:
    """Return SHA-256 over the label and the fields, each behind its length in four bytes.

    The lengths (big-endian) keep two different lists of fields from being the same bytes.

    Args:
        label: What the digest is for; two uses never share a label.
        fields: What is hashed; a memoryview is of bytes.
    """
    state = hashlib.sha256()
    for field in (label, *fields):
        state.update(len(field).to_bytes(4, "big"))
        state.update(field)
    return state.digest()


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What stays the same over the rounds of a session.

    Attributes:
        consortium: 32 bytes, the digest of the consortium agreement.
        run_id: 1 to 256 bytes, the name of the run.
        plan: 32 bytes, the digest of the session plan.
    """

    consortium: bytes
    run_id: bytes
    plan: bytes

    def __post_init__(self) -> None:
        if len(self.consortium) != DIGEST_BYTES or len(self.plan) != DIGEST_BYTES:
            raise LocalProtocolError("consortium and plan are known by digests of 32 bytes")
        if not 1 <= len(self.run_id) <= _LARGEST_RUN_ID:
            raise LocalProtocolError("a run id has 1 to 256 bytes")

    def of_round(self, number: int, model: bytes) -> bytes:
        """Return the context of one round: the 32 bytes that bind all its messages and keys.

        Args:
            number: The number of the round, 0 to 2^32 - 1.
            model: 32 bytes, the digest of the model that this party holds for the round.

        Raises:
            LocalProtocolError: The number is out of range or the digest has another length.
        """
        if not 0 <= number <= _LARGEST_ROUND:
            raise LocalProtocolError("the number of a round has 32 bits")
        if len(model) != DIGEST_BYTES:
            raise LocalProtocolError("a model is known by a digest of 32 bytes")
        fields = (self.consortium, self.run_id, index_bytes(number), model, self.plan)
        return labelled_digest(SESSION_LABEL, *fields)
