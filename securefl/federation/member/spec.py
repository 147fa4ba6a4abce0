"""What makes a member: its data, keys and ledger, as a process that hosts it gets them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from securefl.config.schema import RunConfig
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.data_custody import LedgerContext
from securefl.consortium.ledger.events import Refusal
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.policy import refuse
from securefl.federation.member.checkpoint import NoOpStore, UpdateStore
from securefl.federation.member.refusing import RefusingMember
from securefl.tasks.base import MemberData, UnableMember
from securefl.tasks.served.vocabulary import Vocabulary
from securefl_protocols.primitives.entropy import Entropy
from securefl_protocols.primitives.signing import SigningKey

if TYPE_CHECKING:
    from securefl.federation.member.member import Member


@dataclass(frozen=True)
class MemberSpec:
    """Everything that a process needs to host a member.

    Attributes:
        config: The run's configuration.
        facts: The task's agreed public metadata.
        data: This member's data.
        directory: The member's folder for its state between rounds.
        custody: The member's ledger and policy.
        consortium: The parties and their agreement, as this member knows them.
        identity: The member's identity key, or the 32 bytes of it.
        entropy: The source of its session's randomness.
        memory: Keeps a training for a restart in the middle of a round.
        own_machine: Whether it keeps the run's result, to compute figures for itself alone.
        vocabulary: The agreed products under their labels.
    """

    config: RunConfig
    facts: Any
    data: MemberData
    directory: Path
    custody: LedgerContext
    consortium: Consortium
    identity: bytes | SigningKey = field(repr=False)
    entropy: Entropy = os.urandom
    memory: UpdateStore = field(default_factory=NoOpStore)
    own_machine: bool = False
    vocabulary: Vocabulary = field(default_factory=Vocabulary.empty, repr=False)

    @property
    def name(self) -> str:
        """The member's name."""
        return self.data.name

    @property
    def cost(self) -> int:
        """Number of training samples."""
        return self.data.samples

    def ledger(self) -> MemberLedger:
        """Return the member's ledger; its file is opened when it is first needed."""
        return MemberLedger(self.name, self.identity, self.consortium, self.custody, self.directory)

    def refusal(self, ledger: MemberLedger) -> Refusal | None:
        """Return why it takes no part: its policy, else its data; None where it does."""
        unable = isinstance(self.data, UnableMember)
        return ledger.refusal() or (refuse("data") if unable else None)

    def build(self) -> Member | RefusingMember:
        """Return the member; one that takes no part reads no data."""
        # The member knows its specification, and so this is imported when it is needed.
        from securefl.federation.member.member import Member

        ledger = self.ledger()
        refusal = self.refusal(ledger)
        return Member(self, ledger) if refusal is None else RefusingMember(ledger, refusal)
