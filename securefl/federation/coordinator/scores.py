"""Where a run's scores come from: members in the clear, sums, nowhere, or an observer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from securefl.consortium.agreement.context import Consortium
from securefl.federation import messages as m
from securefl.federation.aggregation.model_proofs import ModelProof
from securefl.federation.scores.exact import ExactLayout
from securefl.federation.scores.exact_session import VALIDATION, sum_exact
from securefl.federation.transport.exchange import Exchange, MemberFailedError
from securefl.ml.metrics.spec import MetricSpec
from securefl.ml.metrics.sums import MetricSums, total
from securefl.ml.vectors import FloatVector
from securefl.privacy.mechanisms import mechanism_for
from securefl.untrusted.text import one_line

Scores = dict[str, MetricSums]
"""Member to metric sums."""
Arms = dict[str, Scores]
"""Arm (the federation or a baseline) to member to metric sums on the member's test cases."""
_LARGEST: Final = 1e100
"""No sum over cases is as large; neither is NaN."""


@dataclass(frozen=True)
class RoundScores:
    """The scores of a round's model.

    Attributes:
        metrics: Metric name to number over all validation cases; empty where none leave.
        missing: Why a sum of scores that was asked for is not there; empty where it is.
    """

    metrics: Mapping[str, float]
    missing: str = ""


class ScoreSource(Protocol):
    """A source of scores; a run uses one of them, as its protection and its host allow."""

    def begin(self) -> None:
        """Start what runs beside the rounds."""

    def validation(
        self,
        members: Sequence[str],
        number: int,
        shared: FloatVector,
        *,
        proof: ModelProof | None = None,
    ) -> RoundScores:
        """Return the metrics over all validation cases after a round; none where none leave.

        Args:
            members: The members that take part.
            number: The round.
            shared: The model that it ended with, float32 [d].
            proof: The proof of that model, for members that did not verify its sum.
        """

    def closing(self, members: Sequence[str], number: int, shared: FloatVector) -> Arms:
        """Return the scores of the run's result and of its baselines on the test cases.

        Args:
            members: The members that take part.
            number: The round whose model is the result.
            shared: That model, float32 [d].
        """

    def simulation_only(self, arms: Arms) -> tuple[str, ...]:
        """Return which scores no coordinator of a network could see, by arm."""


class NoScores:
    """No score of a member leaves it: each retailer has its own figures in its own folder."""

    def begin(self) -> None:
        """See `ScoreSource.begin`."""

    def validation(
        self,
        members: Sequence[str],
        number: int,
        shared: FloatVector,
        *,
        proof: ModelProof | None = None,
    ) -> RoundScores:
        """See `ScoreSource.validation`."""
        del members, number, shared, proof
        return RoundScores({})

    def closing(self, members: Sequence[str], number: int, shared: FloatVector) -> Arms:
        """See `ScoreSource.closing`."""
        del members, number, shared
        return {}

    def simulation_only(self, arms: Arms) -> tuple[str, ...]:
        """See `ScoreSource.simulation_only`."""
        del arms
        return ()


class SummedScores(NoScores):
    """Under masks without a budget: the exact sum over all members, and no member's own.

    Args:
        exchange: The way to the members.
        consortium: The parties and their agreement.
        layout: The coordinates of the task's metrics.
    """

    def __init__(self, exchange: Exchange, consortium: Consortium, layout: ExactLayout) -> None:
        self._sum = partial(sum_exact, exchange, consortium, layout)

    def validation(
        self,
        members: Sequence[str],
        number: int,
        shared: FloatVector,
        *,
        proof: ModelProof | None = None,
    ) -> RoundScores:
        """See `ScoreSource.validation`; none where the sum failed."""
        del members  # the agreement names who is asked
        found = self._sum(number, shared, proof=proof)
        if isinstance(found, str):
            return RoundScores({}, missing=one_line(found))
        return RoundScores(found.arms[VALIDATION[0]].values())


class ScoresInClear:
    """Each member's exact scores from the member itself, in mode `plain` without a budget.

    Args:
        exchange: The way to the members.
        start: The agreed start as it travels, for the local-only baseline; None leaves it out.
        metrics: The metrics that each answer must have; none where all members are this program.
    """

    def __init__(
        self, exchange: Exchange, start: bytes | None = None, metrics: Sequence[MetricSpec] = ()
    ) -> None:
        self._exchange = exchange
        self._start = start
        self._metrics = {metric.name: metric.root for metric in metrics}

    def begin(self) -> None:
        """See `ScoreSource.begin`."""

    def validation(
        self,
        members: Sequence[str],
        number: int,
        shared: FloatVector,
        *,
        proof: ModelProof | None = None,
    ) -> RoundScores:
        """See `ScoreSource.validation`; where updates are in the clear, no model has a proof."""
        del proof
        model = m.pack_vector(shared)
        request = m.Evaluate(round=number, shared=model, split="validation", kept=False)
        return RoundScores(total(self._scores(members, request).values()).values())

    def closing(self, members: Sequence[str], number: int, shared: FloatVector) -> Arms:
        """See `ScoreSource.closing`."""
        model = m.pack_vector(shared)
        request = m.Evaluate(round=number, shared=model, split="test", kept=True)
        arms: Arms = {"federated": self._scores(members, request)}
        if self._start is not None:
            asked = m.LocalOnlyRequest(shared=self._start)
            arms["alone"] = local_only_scores(self._exchange, members, asked)
        arms |= self._beside(members)
        arms["naive"] = self._scores(members, m.BaselineRequest(split="test"))
        return arms

    def _scores(self, members: Sequence[str], request: m.Message) -> Scores:
        return scores_of(self._exchange, members, request, self._metrics)

    def _beside(self, members: Sequence[str]) -> Arms:
        """Return arms that members have no part in."""
        del members
        return {}

    def simulation_only(self, arms: Arms) -> tuple[str, ...]:
        """See `ScoreSource.simulation_only`."""
        del arms
        return ()


def sums_alone(
    exchange: Exchange, consortium: Consortium, metrics: Sequence[MetricSpec]
) -> NoScores:
    """Return the source of scores where no member gives its own: sums, or none under a budget."""
    # Scores are functions of customers' data: under a budget they would be releases of their own.
    if mechanism_for(consortium.config.privacy).private:
        return NoScores()
    return SummedScores(exchange, consortium, ExactLayout(tuple(metrics)))


def scores_of(
    exchange: Exchange,
    members: Sequence[str],
    request: m.Message,
    metrics: Mapping[str, bool] | None = None,
) -> Scores:
    """Ask members for scores, and return each one's.

    Args:
        exchange: The way to them; it decides what an answer that cannot be used means.
        members: The members.
        request: The question.
        metrics: Metric name to whether it is a root, as each answer must have them; None for any.
    """
    return _usable(exchange, exchange.ask_all(members, request, m.Scores), metrics)


def local_only_scores(exchange: Exchange, members: Sequence[str], request: m.Message) -> Scores:
    """Ask members to train without the federation, and return each one's scores."""
    return _usable(exchange, exchange.ask_all(members, request, m.LocalOnlyResult))


def _usable(
    exchange: Exchange,
    answers: Mapping[str, m.Scores | m.LocalOnlyResult],
    metrics: Mapping[str, bool] | None = None,
) -> Scores:
    """Return the scores that can be added up; each other answer is left out with its sender."""
    found: Scores = {}
    for name, answer in answers.items():
        try:
            found[name] = _own_scores(name, answer.tallies, metrics)
        except MemberFailedError as error:
            exchange.leave_out(name, error)
    finite = [name for name, sums in found.items() if _finite(sums)]
    # Where no member's are finite, the training diverged, and `rounds.py` says so.
    for name in [name for name in found if finite and name not in finite]:
        exchange.leave_out(name, MemberFailedError(f"{name} sent scores that are not finite"))
        del found[name]
    if not found:
        raise MemberFailedError("no member sent scores that can be used")
    return found


def _own_scores(
    name: str, tallies: Mapping[str, m.TallyFields], metrics: Mapping[str, bool] | None
) -> MetricSums:
    """Return the one tally of an answer, which must be its sender's own.

    Raises:
        MemberFailedError: If it is another's, of other metrics, or one that no cases have.
    """
    if set(tallies) != {name}:
        raise MemberFailedError(f"{name} sent scores that are not its own alone")
    sums = m.unpack_tallies(tallies)[name]
    roots = {metric: ratio.root for metric, ratio in sums.ratios.items()}
    if metrics and roots != metrics:
        raise MemberFailedError(f"{name} sent scores of other metrics than those of the task")
    for ratio in sums.ratios.values():
        if ratio.denominator < 0 or (ratio.root and ratio.numerator < 0):
            raise MemberFailedError(f"{name} sent scores that no cases have")
    return sums


def _finite(sums: MetricSums) -> bool:
    """Return whether sums can be added up; those beyond range would overflow with others."""
    parts = [
        part for ratio in sums.ratios.values() for part in (ratio.numerator, ratio.denominator)
    ]
    return all(abs(part) <= _LARGEST for part in parts)
