"""Requests that were sent together, and which of their members are waited for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from securefl.federation.transport.answer_sizes import SMALL_ANSWER
from securefl.federation.transport.liveness import LivenessTracker
from securefl.federation.transport.timeouts import TimeoutPolicy, Wait


@dataclass
class Question:
    """An unanswered request; `sealed_for` is the key of the member that it was sealed for.

    `whole` is whether it was sent again with its model, `largest` the most bytes of its answer.
    """

    request: str
    message: bytes
    asked: float
    limit: float
    last: float
    largest: int = SMALL_ANSWER
    model: bytes | None = None
    named: bool = False
    whole: bool = False
    sealed_for: bytes | None = None


@dataclass
class Batch:
    """Requests that were sent together.

    Attributes:
        asked: How many there are.
        answered: How many of them were answered.
        enough: When a quorum of them was, on the monotonic clock.
        open: Those that are not answered, by member.
    """

    asked: int = 0
    answered: int = 0
    enough: float | None = None
    open: dict[str, Question] = field(default_factory=dict)

    def postpone(self, seconds: float) -> None:
        """Move all times by so many seconds into the future."""
        for question in self.open.values():
            question.asked += seconds
        if self.enough is not None:
            self.enough += seconds

    def late(
        self,
        now: float,
        policy: TimeoutPolicy,
        watch: LivenessTracker,
        roster: Collection[str],
        cut_off: Mapping[str, str],
    ) -> dict[str, str]:
        """Return the members that are no longer waited for, each with the reason.

        Args:
            now: The time, on the monotonic clock.
            policy: The policy.
            watch: The liveness of the members.
            roster: All members of the run.
            cut_off: By member that is cut off, the reason.
        """
        need = min(self.asked, policy.quorum)
        if self.enough is None and self.answered >= need:
            self.enough = now
        silent = {
            party: watch.silence(party, since=question.asked)
            for party, question in self.open.items()
        }
        troubles = {party: cut_off.get(party) or watch.trouble(party) for party in self.open}
        able = [p for p in self.open if not troubles[p] and silent[p] <= policy.silence]
        possible = self.answered + len(able) >= need
        others = [party for party in roster if party not in cut_off]
        elsewhere = not possible and watch.there(others, policy.silence) >= policy.quorum
        verdicts = {
            party: policy.verdict(
                Wait(
                    elapsed=now - question.asked,
                    limit=question.limit,
                    last=question.last,
                    quorum=None if self.enough is None else self.enough - question.asked,
                    silent=silent[party],
                    missed=watch.missed(party),
                    trouble=troubles[party],
                    possible=possible,
                    elsewhere=elsewhere,
                )
            )
            for party, question in self.open.items()
        }
        # Who is cut off is never waited for: nothing that it sends is read.
        verdicts |= {party: cut_off[party] for party in self.open if party in cut_off}
        return {party: reason for party, reason in verdicts.items() if reason}
