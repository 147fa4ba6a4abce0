"""A member's ledger in a folder of the audit's own: real entries, and no real budget is spent."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securefl.config.schema import RunConfig
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.agreement.model import new_agreement
from securefl.consortium.agreement.signatures import signed_by
from securefl.consortium.keys.key_files import generate_key
from securefl.consortium.keys.parties import party_of
from securefl.consortium.ledger.data_custody import LedgerContext
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.ml.parameters import FloatVector, model_digest

_VALID = timedelta(days=1)


def ledger_context_in(folder: Path) -> LedgerContext:
    """A book in a folder, under no policy."""
    return LedgerContext(books=folder, policy=None, digest="0" * 64, label="attacked")


class EphemeralLedger:
    """Takes a member through the rounds of a run as the engine would.

    Args:
        name: Of the member.
        config: Of the run.
        folder: Where the book lies; new and empty.
        units: Number of the member's units.
    """

    def __init__(self, name: str, config: RunConfig, folder: Path, units: int) -> None:
        self.names = (name, *(f"other-{n}" for n in range(1, config.cohort.minimum)))
        keys = {name: generate_key() for name in self.names}
        now = datetime.now(UTC)
        agreement = new_agreement(
            "attack",
            tuple(party_of(name, key) for name, key in keys.items()),
            config,
            created=now,
            expires=now + _VALID,
        )
        consortium = Consortium(signed_by(agreement, keys), os.urandom(32))
        own = keys[name].private_bytes()
        self.ledger = MemberLedger(name, own, consortium, ledger_context_in(folder), folder)
        self.ledger.begin(units)

    def enter(self, number: int, shared: FloatVector) -> None:
        """A round begins from a shared model, float32 [d]."""
        self.ledger.enter(number, self.names, model_digest(shared).hex())
