"""The signed agreement of one run, as every party holds it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from securefl.config.schema import RunConfig
from securefl.consortium.agreement.signatures import SignedAgreement
from securefl_protocols.wire.roster import Roster


@dataclass(frozen=True)
class Consortium:
    """Who takes part in a run, as every member knows it.

    Attributes:
        signed: The agreement, with the signatures under it.
        run_id: Names this run, so that nothing of another run is valid in it.
    """

    signed: SignedAgreement
    run_id: bytes

    @cached_property
    def roster(self) -> Roster:
        """All members with their public identity keys.

        Raises:
            AgreementError: If a statement that changes a key is not valid.
        """
        return self.signed.roster()

    @property
    def config(self) -> RunConfig:
        """What was agreed."""
        return self.signed.agreement.config

    def part(self, cohort: tuple[str, ...]) -> Roster:
        """The roster of the members that one session is made of.

        Raises:
            ValueError: If a name is not in the roster.
        """
        keys = dict(zip(self.roster.names, self.roster.identities, strict=True))
        unknown = sorted(set(cohort) - keys.keys())
        if unknown:
            raise ValueError(f"{unknown[0]} is not in the roster")
        return Roster(cohort, tuple(keys[name] for name in cohort))

    def digest(self) -> bytes:
        """32 bytes that stand for the agreement and everything that changed a key since."""
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        return self.signed.digest()
