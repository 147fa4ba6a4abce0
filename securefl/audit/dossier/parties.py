"""What each party can learn: one table, by protection, and the task's own statement.

The messages beneath it are those of `federation/member/answers.py`, which a member is held to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from securefl.audit.dossier.evidence import Evidence
from securefl.federation.member.answers import ANSWERS, Price, Protection
from securefl_protocols.session.graph import default_threshold

COORDINATOR: Final = "The coordinator"
_MEMBERS, _HOLDER, _NETWORK, _AUDITOR = (
    "Another member",
    "A holder of the released model",
    "The network between them",
    "An auditor",
)
SEES: Final = {
    Protection.PLAIN: (
        "Every member's change of the model in the clear, its number of samples, its loss, and its"
        " exact scores."
    ),
    Protection.PLAIN_BUDGET: (
        "Every member's change of the model with noise, and the sum of all members' closing scores"
        " with noise. No count of customers, no loss."
    ),
    Protection.MASKED: (
        "The sum of the members' changes weighted by their samples, the sum of the samples, the"
        " weighted sum of the losses, sums of scores over all members, and who took part. Of a"
        " single member, a mask, and its vote on a model where a vote was agreed."
    ),
    Protection.MASKED_BUDGET: (
        "The sum of the members' changes with noise, the sum of all members' closing scores with"
        " noise, and who took part. Of a single member, a mask, and where a vote was agreed its"
        " ballot, read off noised figures. No count of customers, no loss."
    ),
}
"""What the coordinator sees, by protection."""


@dataclass(frozen=True)
class PartyView:
    """What one party can learn.

    Attributes:
        party: The party.
        learns: What it can learn.
    """

    party: str
    learns: str


def views(evidence: Evidence) -> tuple[PartyView, ...]:
    """Return what each party can learn of the members of a run."""
    said = evidence.disclosure
    model = said.model if said else "The task does not state what its model says."
    model = " ".join([model, *evidence.config.discloses])
    return (
        PartyView(COORDINATOR, SEES[evidence.protection]),
        PartyView(_MEMBERS, _member(evidence)),
        PartyView(_HOLDER, model),
        PartyView(
            _NETWORK,
            "Sizes and times of sealed messages, and who speaks to whom; nothing of their content.",
        ),
        PartyView(
            _AUDITOR,
            "The signed log: who took part, mechanisms, epsilons and digests. No data, no update of"
            " a member, and numbers of customers only where members opened them.",
        ),
    )


def _member(evidence: Evidence) -> str:
    count = len(evidence.agreement.members)
    told = "The shared model after each round, and so how all others together moved it."
    if evidence.protection in {Protection.PLAIN, Protection.PLAIN_BUDGET}:
        return f"{told} If it works together with the coordinator: all that the coordinator sees."
    colluding = 2 * default_threshold(count) - count - 1
    return (
        f"{told} Up to {colluding} of {count} members that work together with the coordinator learn"
        " the sum over the others, and nothing of a single one of them beyond it."
    )


def messages(evidence: Evidence) -> tuple[tuple[str, str, str], ...]:
    """Return all that leaves a member under the agreement: question, answer, and at what price."""
    rows = (
        (
            _kind(rule.question),
            ", ".join(_kind(reply) for reply in rule.reply),
            rule.price.value,
        )
        for rule in ANSWERS
        if evidence.protection in rule.protections and rule.price is not Price.NOTHING
    )
    return tuple(dict.fromkeys(rows))  # one question in two phases is one row here


def _kind(message: type) -> str:
    return str(message.model_fields["kind"].default)  # type: ignore[attr-defined]
