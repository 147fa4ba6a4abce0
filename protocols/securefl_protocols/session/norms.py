"""Norm proofs in a round: which input they are about, and how they are bound to the sum.

When the survivors and the digests of their masked inputs are known, no input can change any more.
From then on the projections are known to all: their key is a hash of the context and of these
digests. Each survivor commits to its projections and proves that they are short. The blindings of
the commitments are numbers from the mask keys, one for each, as the masks of the tags are: those of
two survivors cancel, and those of the self masks come to light with the sum. So the commitments add
up to the projections of the sum, which every member compares, and no single one can be opened.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from hashlib import sha256

from securefl_protocols.primitives.errors import ChecksumFailed, RemoteProtocolError
from securefl_protocols.primitives.kdf import derive_key, index_bytes
from securefl_protocols.primitives.prg import SignedMask
from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.proofs.norm_proof import NormProof, prove, verified
from securefl_protocols.proofs.norm_terms import NormTerms
from securefl_protocols.proofs.projections import projected, signed_integers
from securefl_protocols.proofs.ristretto import ORDER, combination, commitment, scalar_from
from securefl_protocols.wire.codec import encode_body
from securefl_protocols.wire.context import labelled_digest
from securefl_protocols.wire.messages import (
    SCALAR_BYTES,
    Consistency,
    ProvenConsistency,
    ProvenSignatures,
)

PROJECTIONS_LABEL = b"securefl/2/norm projections"
STATEMENT_LABEL = b"securefl/2/norm statement"
BLINDING_LABEL = b"securefl/2/norm blinding"
_WIDE = 64


def blinding_of(masks: Iterable[SignedMask], inputs: bytes) -> int:
    """Return the sum of the numbers that mask keys give for one set of masked inputs.

    Args:
        masks: Of a member: its self mask, and the pairwise ones with the other survivors. Of the
            sum: the self masks of the survivors.
        inputs: 32 bytes, the digest of the survivors' masked inputs.
    """
    return sum(sign * _number(key, inputs) for key, sign in masks) % ORDER


def _number(key: bytes, inputs: bytes) -> int:
    # Bound to the survivors: members that were told different ones have blindings that do not
    # cancel, so that nothing adds up to a commitment without a blinding.
    wide = derive_key(key, label=BLINDING_LABEL, context=inputs, length=_WIDE)
    return int.from_bytes(wide, "little") % ORDER


@dataclass(frozen=True, slots=True)
class RoundNorms:
    """The norm proofs of one round and one set of survivors.

    Attributes:
        terms: The agreed numbers.
        context: 32 bytes, the context of the round.
        consistency: What all survivors sign beside their proofs.
    """

    terms: NormTerms
    context: bytes
    consistency: Consistency

    def proven(
        self, member: int, vector: RingVector, masks: Iterable[SignedMask], secret: bytes
    ) -> ProvenConsistency:
        """Return a member's message with its proof.

        Args:
            member: Its index.
            vector: Shape [d], its input before it was masked.
            masks: Its self mask, and the pairwise ones with the other survivors.
            secret: 32 random bytes.

        Raises:
            RangeError: The input does not keep to the terms.
        """
        blinding = blinding_of(masks, self.consistency.inputs)
        values = self._values(vector)
        proof = prove(self.terms, self._statement(member), values, blinding, secret)
        return self._with(proof.to_bytes(self.terms))

    def check(self, proofs: Mapping[int, bytes]) -> None:
        """Check proofs, by member.

        Raises:
            RemoteProtocolError: One is not good; its member is the peer.
        """
        read = {member: self._read(member, proof) for member, proof in proofs.items()}
        if verified(self.terms, [(self._statement(m), proof) for m, proof in read.items()]):
            return
        for member, proof in read.items():
            if not verified(self.terms, [(self._statement(member), proof)]):
                raise RemoteProtocolError("its norm proof does not hold", member)

    def rows(self, message: ProvenSignatures, survivors: Set[int]) -> dict[int, bytes]:
        """Return the proofs that came with the signatures, by member.

        Raises:
            RemoteProtocolError: They are not one for each survivor: an input would be in the sum
                whose norm is not proved.
        """
        size, signers = self.terms.proof_bytes, sorted(message.signatures)
        if set(signers) != survivors or len(message.proofs) != size * len(signers):
            raise RemoteProtocolError("the norm proofs are not one for each survivor")
        starts = range(0, len(message.proofs), size)
        rows = (message.proofs[start : start + size] for start in starts)
        return dict(zip(signers, rows, strict=True))

    def body_digests(self, proofs: Mapping[int, bytes]) -> dict[int, bytes]:
        """Return the SHA-256 of what each member signed, by member."""
        bodies = {member: encode_body(self._with(proof)) for member, proof in proofs.items()}
        return {member: sha256(body).digest() for member, body in bodies.items()}

    def check_sum(self, proofs: Mapping[int, bytes], total: RingVector, blinding: bytes) -> None:
        """Check that the sum is that of the inputs whose projections were committed to.

        Args:
            proofs: Of the survivors, checked before.
            total: Shape [d], the sum.
            blinding: 32 bytes, the sum of the numbers of the survivors' self masks.

        Raises:
            ChecksumFailed: It is not.
        """
        committed = [self._read(member, proof).points[0] for member, proof in proofs.items()]
        opened = scalar_from(blinding, "the blinding of a sum")
        if combination([1] * len(committed), committed) != commitment(
            self._values(total), 1, opened
        ):
            raise ChecksumFailed(
                "the sum is not that of the inputs whose norms were proved", frozenset(proofs)
            )

    def _values(self, vector: RingVector) -> list[int]:
        signed, terms = signed_integers(vector), self.terms
        key = labelled_digest(PROJECTIONS_LABEL, self.context, self.consistency.inputs)
        digits = signed[signed.size - terms.digits :].tolist()
        return [*projected(key, signed[: terms.coordinates]), *digits]

    def _statement(self, member: int) -> bytes:
        fields = (self.context, index_bytes(member), self.consistency.inputs)
        return labelled_digest(STATEMENT_LABEL, *fields)

    def _read(self, member: int, proof: bytes) -> NormProof:
        try:
            return NormProof.from_bytes(self.terms, proof)
        except RemoteProtocolError as error:
            raise RemoteProtocolError(str(error), member) from None

    def _with(self, proof: bytes) -> ProvenConsistency:
        agreed = self.consistency
        return ProvenConsistency(agreed.round, agreed.survivors, agreed.inputs, proof)


def blinding_bytes(blinding: int) -> bytes:
    """Return a blinding as it travels."""
    return blinding.to_bytes(SCALAR_BYTES, "little")
