"""The consortium of one run: the signed agreement together with the run id."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from securefl.config.schema import RunConfig
from securefl.consortium.agreement.signatures import SignedAgreement
from securefl_protocols.wire.roster import Roster


@dataclass(frozen=True)
class Consortium:
    """Participants and terms of one run, identical at every party.

    Attributes:
        signed: The agreement, with the signatures under it.
        run_id: Identifies the run; bound into signatures and keys, so that nothing from another run
            is valid in this one.
    """

    signed: SignedAgreement
    run_id: bytes

    @cached_property
    def roster(self) -> Roster:
        """Return all members with their current public identity keys.

        Raises:
            AgreementError: If a key rotation or revocation is not valid.
        """
        return self.signed.roster()

    @property
    def config(self) -> RunConfig:
        """Return the agreed configuration."""
        return self.signed.agreement.config

    def part(self, cohort: tuple[str, ...]) -> Roster:
        """Return the roster of one session, restricted to its cohort.

        Raises:
            ValueError: If a name is not in the roster.
        """
        keys = dict(zip(self.roster.names, self.roster.identities, strict=True))
        unknown = sorted(set(cohort) - keys.keys())
        if unknown:
            raise ValueError(f"{unknown[0]} is not in the roster")
        return Roster(cohort, tuple(keys[name] for name in cohort))

    def digest(self) -> bytes:
        """Return the 32-byte digest of the agreement with all later key changes."""
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        return self.signed.digest()
