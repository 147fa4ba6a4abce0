"""What members sign of a round's end once they verified its sum, and when that proves a model.

A member that saw a sum computes the next model itself. One that did not see it has only the word of
the coordinator, which could hand it any model; so it asks for what others of the round signed. Of t
signatures at least t - n_C are honest members' (n_C = 2t - n - 1 may collude), and an honest member
signs one end a round, which it computed: no two ends of a round can have t signatures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgpack

from securefl.config.cohort import least_survivors
from securefl.consortium.agreement.context import Consortium
from securefl.federation.aggregation.cohort import agreed_cohort
from securefl.federation.messages import Message, MessageError
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.signing import SIGNATURE_BYTES, SigningKey, verify
from securefl_protocols.wire.context import DIGEST_BYTES, labelled_digest

END_LABEL = b"securefl/1/verified-end"
MOMENTS_LABEL = b"securefl/1/server-moments"


def moments_digest(moments: bytes) -> bytes:
    """Return 32 bytes that stand for the server optimizer's moments, see `ServerOptimizer.pack`."""
    return labelled_digest(MOMENTS_LABEL, moments)


def round_threshold(consortium: Consortium, number: int) -> int:
    """Return t of a round: the fewest members in its sum, and signatures under its end."""
    config = consortium.config
    cohort = agreed_cohort(config, consortium.roster.names, number)
    return least_survivors(config.cohort, len(cohort))


@dataclass(frozen=True)
class RoundEnd:
    """How a round of masked sums ended, all of it computed from the sum by who signs it.

    Attributes:
        round: Its number, from 1.
        survivors: The members in the sum, in roster order.
        model: Digest of the shared model after the round, 32 bytes.
        moments: Digest of the server optimizer's moments after the round, 32 bytes.
    """

    round: int
    survivors: tuple[str, ...]
    model: bytes
    moments: bytes

    def signed(self, consortium: Consortium, key: SigningKey) -> bytes:
        """Return a member's signature under this end of a round of this run, 64 bytes."""
        return key.sign(END_LABEL, self._statement(consortium))

    def valid(self, consortium: Consortium, signatures: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return those of the signatures that survivors of the round made under this end."""
        roster, statement = consortium.roster, self._statement(consortium)
        keys = dict(zip(roster.names, roster.identities, strict=True))
        found = {}
        for name, signature in signatures.items():
            with suppress(RemoteProtocolError):
                if name in self.survivors and name in keys:
                    verify(keys[name], signature, END_LABEL, statement)
                    found[name] = signature
        return found

    def fits(self, consortium: Consortium) -> bool:
        """Return whether the round was agreed, and its survivors can be those of its sum."""
        config, names = consortium.config, consortium.roster.names
        if not 1 <= self.round <= config.rounds:
            return False
        cohort, members = agreed_cohort(config, names, self.round), set(self.survivors)
        in_order = tuple(name for name in cohort if name in members)
        enough = len(members) >= round_threshold(consortium, self.round)
        return enough and in_order == self.survivors

    def _statement(self, consortium: Consortium) -> bytes:
        """Return what is signed: bound to the agreement, the run and the round."""
        return labelled_digest(
            END_LABEL,
            consortium.digest(),
            consortium.run_id,
            self.round.to_bytes(8, "big"),
            self.model,
            self.moments,
            *(name.encode() for name in self.survivors),
        )


@dataclass(frozen=True)
class ModelProof:
    """Signatures of survivors under one end of a round.

    Attributes:
        end: The end.
        signatures: Survivor to signature; a coordinator keeps the valid ones alone.
    """

    end: RoundEnd
    signatures: Mapping[str, bytes]

    @classmethod
    def of(
        cls, consortium: Consortium, end: RoundEnd, signatures: Mapping[str, bytes]
    ) -> ModelProof:
        """Return the proof from what members sent; signatures under another end are left out."""
        return cls(end, end.valid(consortium, signatures))

    def handed_out(self, consortium: Consortium) -> bytes:
        """Return the proof as it travels: exactly t signatures; empty where there are fewer."""
        needed = round_threshold(consortium, self.end.round)
        if len(self.signatures) < needed:
            return b""
        return self.only(list(self.signatures)[:needed])

    def only(self, names: Iterable[str]) -> bytes:
        """Return the proof as it travels, with the signatures of these members alone."""
        chosen = {name: self.signatures[name] for name in names if name in self.signatures}
        packed: bytes = msgpack.packb([self.end.survivors, self.end.moments, chosen])
        return packed if chosen else b""

    def stored(self) -> bytes:
        """Return all of it, for the coordinator's own checkpoint."""
        end = self.end
        packed: bytes = msgpack.packb(
            [end.round, end.survivors, end.model, end.moments, dict(self.signatures)]
        )
        return packed

    @classmethod
    def from_stored(cls, data: bytes) -> ModelProof:
        """Return the inverse of `stored`."""
        *end, signatures = msgpack.unpackb(data, use_list=False)
        return cls(RoundEnd(*end), signatures)


def proved_requests(
    consortium: Consortium,
    request: Message,
    members: Iterable[str],
    proof: ModelProof | None,
    known_to: Collection[str] | None = None,
    **beside: bytes,
) -> dict[str, Message]:
    """Return a request about a model for each member, with the proof for those that need one.

    The others are sent none: it would be t signatures for each member in every round.

    Args:
        consortium: The parties and their agreement.
        request: The request, whose field `proof` is empty.
        members: Who is asked.
        proof: The proof of its model; None where there is none.
        known_to: The members that need none; without it, those that signed.
        beside: Other fields that belong to the proof.
    """
    proof_bytes = b"" if proof is None else proof.handed_out(consortium)
    if proof is None or not proof_bytes:
        return dict.fromkeys(members, request)
    known = proof.signatures if known_to is None else known_to
    proved = request.model_copy(update={"proof": proof_bytes, **beside})
    return {name: request if name in known else proved for name in members}


def read_proof(number: int, model: bytes, data: bytes) -> ModelProof:
    """Return a proof as it came, about a model (digest, 32 bytes) that a round ended with.

    Raises:
        MessageError: If it is malformed; nothing of it is verified yet.
    """
    try:
        survivors, moments, signatures = msgpack.unpackb(data, use_list=False)
        _check_form(survivors, moments, signatures)
    except (ValueError, TypeError, msgpack.UnpackException):
        raise MessageError("malformed proof of a model") from None
    return ModelProof(RoundEnd(number, survivors, model, moments), signatures)


def _check_form(survivors: Any, moments: Any, signatures: Any) -> None:  # noqa: ANN401 - foreign
    """Raise ValueError unless the parts of a proof have their types and lengths."""
    if not (isinstance(survivors, tuple) and isinstance(signatures, dict)):
        raise ValueError("types")
    texts = all(isinstance(name, str) for name in (*survivors, *signatures))
    octets = [(moments, DIGEST_BYTES), *((one, SIGNATURE_BYTES) for one in signatures.values())]
    if not texts or any(not isinstance(p, bytes) or len(p) != size for p, size in octets):
        raise ValueError("types or lengths")


def proved_end(consortium: Consortium, number: int, model: bytes, data: bytes) -> RoundEnd | None:
    """Return the end of a round that at least t of its survivors signed; None if too few did.

    Args:
        consortium: The parties and their agreement.
        number: Number of the round.
        model: Digest of the model that it is to have ended with, 32 bytes.
        data: The proof as it came; empty where there is none.

    Raises:
        MessageError: If the proof is malformed.
    """
    if not data:
        return None
    proof = read_proof(number, model, data)
    # Before any signature is verified, so that a flood of them costs nothing.
    if not proof.end.fits(consortium) or len(proof.signatures) > len(proof.end.survivors):
        return None
    valid = proof.end.valid(consortium, proof.signatures)
    return proof.end if len(valid) >= round_threshold(consortium, number) else None
