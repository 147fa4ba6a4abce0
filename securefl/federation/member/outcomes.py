"""Which rounds a member saw end: it signs the outcome of these, and "did not see" of all others."""

from __future__ import annotations

from collections.abc import Callable

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.data_custody import RefusedError
from securefl.consortium.ledger.events import Outcome, UnseenOutcome
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.federation import messages as m
from securefl.federation.aggregation.cohort import agreed_cohort
from securefl.federation.aggregation.model_proofs import RoundEnd, read_proof
from securefl.federation.member.model_verifier import ModelVerifier
from securefl.federation.member.replying import INTERNAL_ERROR


class SeenOutcomes:
    """The judge of what a coordinator says of a round's end, for one member.

    Args:
        consortium: The parties and their agreement.
        ledger: The member's ledger.
        verifier: The ends of rounds whose sums it verified.
        layout: Digest of names and shapes of the shared tensors, 32 bytes. A digest of values does
            not say what they mean.
    """

    def __init__(
        self, consortium: Consortium, ledger: MemberLedger, verifier: ModelVerifier, layout: bytes
    ) -> None:
        self._consortium = consortium
        self._ledger = ledger
        self._verifier = verifier
        self._layout = layout.hex()
        self._masked = consortium.config.mode == "secure"
        self._errors: dict[int, str] = {}

    def noting(self, request: m.Message, answer: Callable[[m.Message], m.Message]) -> m.Message:
        """Return the answer to a request; a round's first error will stand beside its end."""
        try:
            return answer(request)
        except RefusedError:
            raise  # an entry of its own
        except Exception as error:
            if isinstance(request, m.Train | m.TrainMasked):
                name = getattr(error, "wire_name", INTERNAL_ERROR)
                self._errors.setdefault(request.round, name)
            raise

    def recorded(self, claim: m.Conclude) -> Outcome | UnseenOutcome:
        """Return what the member records of a round's end.

        Raises:
            MessageError: If no round can end as claimed, or the member saw another end.
        """
        # One after another: an entry on a round to come would say that all before it are over.
        if claim.round > 1 and self._ledger.end_of_round(claim.round - 1) is None:
            raise m.MessageError(f"round {claim.round - 1} has not ended yet")
        saw = self._verified(claim) if self._masked else self._took_part(claim)
        # What it signed before it does not take back; the ledger refuses it with other contents.
        if not saw and not isinstance(self._ledger.end_of_round(claim.round), Outcome):
            return UnseenOutcome(round=claim.round, reason=self._errors.get(claim.round))
        return Outcome(
            round=claim.round,
            survivors=claim.survivors,
            model_after=claim.model.hex(),
            transcript=claim.transcript.hex() if claim.transcript else None,
            layout=self._layout,
        )

    def _took_part(self, claim: m.Conclude) -> bool:
        """Return whether the member is in a round in the clear, as claimed.

        In mode `plain` no member sees a sum: there it vouches for having sent an update, and the
        rest is what the coordinator said, as that mode is agreed.
        """
        number, survivors, ledger = claim.round, claim.survivors, self._ledger
        cohort = agreed_cohort(self._consortium.config, self._consortium.roster.names, number)
        if not survivors or survivors != tuple(name for name in cohort if name in survivors):
            raise m.MessageError(f"these cannot be the survivors of round {number}")
        if claim.transcript is not None:
            raise m.MessageError("nothing was masked, and there is a transcript")
        if ledger.name not in survivors:
            return False
        if ledger.privacy_ledger.entry_of(ledger.run, "release", number) is None:
            raise m.MessageError(f"this member sent no update in round {number}")
        return True

    def _verified(self, claim: m.Conclude) -> bool:
        """Return whether the member verified the sum of a round, and it ended as claimed."""
        number, own = claim.round, self._verifier.verified_end(claim.round)
        # Before anything else, and whoever saw it: survivors who cannot be in one sum are none.
        if not RoundEnd(number, claim.survivors, claim.model, b"").fits(self._consortium):
            raise m.MessageError(f"these cannot be the survivors of round {number}")
        if claim.transcript is None:
            raise m.MessageError(f"the sum of round {number} has a transcript, and none is named")
        if own is None:
            return self._signed_before(claim)
        if own.model != claim.model:
            raise m.MessageError(f"round {number} ended with another model")
        if own.survivors != claim.survivors:
            raise m.MessageError(f"the sum of round {number} has other survivors")
        return True

    def _signed_before(self, claim: m.Conclude) -> bool:
        """Return whether the member signed this end before it lost its state."""
        if not claim.proof:
            return False
        shown, name = read_proof(claim.round, claim.model, claim.proof), self._ledger.name
        valid = shown.end.valid(self._consortium, shown.signatures)
        return shown.end.survivors == claim.survivors and name in valid
