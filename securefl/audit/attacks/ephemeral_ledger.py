"""An ephemeral member ledger for attacks: real entries, without charging the real budget."""

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
from securefl.ml.vectors import FloatVector, model_digest

_VALID = timedelta(days=1)


def ledger_context_in(folder: Path) -> LedgerContext:
    """Return a ledger context in a folder, without a policy."""
    return LedgerContext(books=folder, policy=None, digest="0" * 64, label="attacked")


class EphemeralLedger:
    """A member ledger under a throw-away agreement, driven round by round as in a run.

    Args:
        name: Name of the member.
        config: Configuration of the run.
        folder: Folder of the ledger; new and empty.
        units: Number of the member's privacy units.
    """

    def __init__(self, name: str, config: RunConfig, folder: Path, units: int) -> None:
        # The agreement needs the smallest allowed cohort; the other members exist as keys only.
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
        """Begin a round from a shared model, float32 [d]."""
        self.ledger.enter(number, self.names, model_digest(shared).hex())
