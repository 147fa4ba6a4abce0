"""The observer of a simulation: scores that no party of a real run could see.

One machine has all members' data in a simulation, so a per-retailer table can be computed there for
any mode. It is computed beside the federation: the members themselves answer what they answer over
a network (`member/answers.py`), and only the wrappers of this file answer the observer. None of
them can be built without the private keys of all members, which no host of a network has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass
from typing import Any

from securefl.config.schema import RunConfig
from securefl.consortium.agreement.context import Consortium
from securefl.errors import AgreementError, SecureflError
from securefl.federation import messages as m
from securefl.federation.coordinator.scores import (
    Arms,
    NoScores,
    Scores,
    ScoresInClear,
    local_only_scores,
    scores_of,
    sums_alone,
)
from securefl.federation.member.answers import Protection
from securefl.federation.member.member import Member
from securefl.federation.member.open_session import TrainedUpdate
from securefl.federation.member.refusing import RefusingMember
from securefl.federation.member.rounds import in_the_clear
from securefl.federation.member.scoring import EARLIER, LocalPart, local_only_result
from securefl.federation.member.spec import MemberSpec
from securefl.federation.runs.prepare import POOLED, Prepared
from securefl.federation.transport.base import Party
from securefl.federation.transport.exchange import Exchange
from securefl.federation.transport.timeouts import kind_of
from securefl.ml.vectors import FloatVector
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.base import MemberData
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.registry import create_task
from securefl_protocols.primitives.signing import SigningKey


@dataclass(frozen=True)
class Simulation:
    """Evidence that all members are on this machine: the private keys of the whole roster.

    Attributes:
        consortium: The parties.
        identities: Member to private identity key, 32 bytes.

    Raises:
        AgreementError: If a member's key is missing or another one.
    """

    consortium: Consortium
    identities: InitVar[Mapping[str, bytes]]

    def __post_init__(self, identities: Mapping[str, bytes]) -> None:
        roster = self.consortium.roster
        for name, public in zip(roster.names, roster.identities, strict=True):
            if name not in identities or SigningKey(identities[name]).public != public:
                raise AgreementError(f"no simulation: the key of {name} is not on this machine")


@dataclass(frozen=True)
class ObservedSpec:
    """The spec of a member of a simulation.

    Attributes:
        spec: The member's own spec.
        simulation: Evidence that this is one.
        discloses: Whether it discloses updates to the observer; for `securefl compare` alone.
    """

    spec: MemberSpec
    simulation: InitVar[Simulation]
    discloses: bool = False

    def __post_init__(self, simulation: Simulation) -> None:
        if simulation.consortium != self.spec.consortium:
            raise AgreementError("the member is of another consortium than the simulation")

    @property
    def name(self) -> str:
        """The member's name."""
        return self.spec.name

    @property
    def cost(self) -> int:
        """Number of training samples."""
        return self.spec.cost

    def build(self) -> Party:
        """Return the member for the observer; one that refuses the run is not observed."""
        member = self.spec.build()
        if isinstance(member, RefusingMember):
            return member
        return ObservedMember(member, self.discloses)


class ObservedMember:
    """A member of a simulation: the observer's questions are answered beside it, all others by it.

    Args:
        discloses: Whether its updates are disclosed.

    Attributes:
        member: The member.
    """

    def __init__(self, member: Member, discloses: bool) -> None:
        self.member = member
        self._answers: dict[str, Callable[[Any], m.Message]] = {
            "observe-model": self._model,
            "observe-baseline": self._baseline,
            "observe-local-only": self._local_only,
        }
        if discloses:
            self._answers["reveal"] = self._reveal
            self._answers["observe-rounding"] = self._rounding

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Return the reply to one message."""
        answer = self._answers.get(kind_of(message))
        return self.member.handle(message) if answer is None else answered(message, answer)

    def close(self) -> None:
        """Close its ledger."""
        self.member.close()

    def _model(self, request: m.ObserveModel) -> m.Scores:
        shared = m.unpack_vector(request.shared)
        tallies = self.member.scoring.score(shared, request.split, request.local)
        return m.Scores(tallies=m.pack_tallies(tallies))

    def _baseline(self, request: m.ObserveBaseline) -> m.Scores:
        scoring = self.member.scoring
        tallies = scoring.noised_baseline() if request.noised else scoring.baseline("test")
        return m.Scores(tallies=m.pack_tallies(tallies))

    def _local_only(self, request: m.ObserveLocalOnly) -> m.LocalOnlyResult:
        settings, start = self.member.config.references.alone, m.unpack_vector(request.shared)
        return local_only_result(self.member.learner.by_itself(), settings, start)

    def _reveal(self, request: m.DebugDisclose) -> m.Update:
        return in_the_clear(self._update(request.round))

    def _rounding(self, request: m.ObserveRounding) -> m.Rounding:
        return m.Rounding(key=self.member.masked.rounding_key(self._update(request.round)))

    def _update(self, number: int) -> TrainedUpdate:
        update = self.member.rounds.update
        if update is None or update.round != number:
            raise m.MessageError("this member has no update of the round")
        return update


@dataclass(frozen=True)
class PooledSpec:
    """The spec of the centralized baseline, which has the data of all members.

    Attributes:
        config: The run's configuration.
        facts: The task's agreed public metadata.
        data: All members' data.
        simulation: Evidence that this is a simulation.
    """

    config: RunConfig
    facts: Any
    data: MemberData
    simulation: InitVar[Simulation]

    def __post_init__(self, simulation: Simulation) -> None:
        del simulation

    @property
    def name(self) -> str:
        """The party's name."""
        return self.data.name

    @property
    def cost(self) -> int:
        """Number of training samples."""
        return self.data.samples

    def build(self) -> PooledParty:
        """Return the party."""
        return PooledParty(
            LocalProblem(self.config, create_task(self.config), self.facts, self.data)
        )


class PooledParty:
    """The centralized baseline; it answers the observer alone."""

    def __init__(self, learner: LocalProblem) -> None:
        self._learner = learner

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Return the reply to one message."""
        return answered(message, self._train)

    def close(self) -> None:
        """Do nothing: it has no ledger."""

    def _train(self, request: m.Message) -> m.Message:
        if not isinstance(request, m.ObserveLocalOnly):
            raise m.MessageError("all data in one place answer the observer alone")
        settings = self._learner.config.references.pooled
        return local_only_result(self._learner, settings, m.unpack_vector(request.shared))


def answered(message: bytes, answer: Callable[[Any], m.Message]) -> Sequence[bytes]:
    """Return the reply to a message of the observer; a user-facing error becomes a `Failure`."""
    try:
        reply = answer(m.decode(message))
    except SecureflError as error:
        reply = m.Failure(error=error.wire_name, text=str(error))
    return [m.encode(reply)]


class PooledScores:
    """The centralized baseline's scores, which it trains for beside the rounds.

    Args:
        aside: The observer's way to the parties.
        prepared: The run's input.
    """

    def __init__(self, aside: Exchange, prepared: Prepared) -> None:
        self._aside = aside
        self._enabled = prepared.config.references.enabled
        self._start = m.pack_vector(prepared.shared)

    def begin(self) -> None:
        """Start the training."""
        if self._enabled:
            self._aside.request(POOLED, m.ObserveLocalOnly(shared=self._start))

    def arms(self, members: Sequence[str]) -> Arms:
        """Return its scores on each member's test cases; none without baselines."""
        if not self._enabled:
            return {}
        answer = self._aside.collect([POOLED], m.LocalOnlyResult)[POOLED]
        tallies = m.unpack_tallies(answer.tallies)
        return {POOLED: {name: tallies[name] for name in members}}


def earlier_scores(aside: Exchange, prepared: Prepared, members: Sequence[str]) -> Arms:
    """Return the arm of the model that the run went on from; none where it began anew.

    Each member has its own part of that model beside it, on this run's cases.
    """
    if not prepared.config.goes_on:
        return {}
    start = m.pack_vector(prepared.shared)
    request = m.ObserveModel(shared=start, split="test", local="start")
    return {EARLIER: scores_of(aside, members, request)}


class PlainSimulationScores(ScoresInClear):
    """In mode `plain` without a budget: members' scores in the clear, all else observed."""

    def __init__(self, exchange: Exchange, prepared: Prepared) -> None:
        start = m.pack_vector(prepared.shared) if prepared.config.references.enabled else None
        super().__init__(exchange, start)
        self._prepared, self._aside = prepared, exchange.aside()
        self._pooled = PooledScores(self._aside, prepared)

    def begin(self) -> None:
        """See `ScoreSource.begin`."""
        self._pooled.begin()

    def _beside(self, members: Sequence[str]) -> Arms:
        earlier = earlier_scores(self._aside, self._prepared, members)
        return earlier | self._pooled.arms(members)

    def simulation_only(self, arms: Arms) -> tuple[str, ...]:
        """See `ScoreSource.simulation_only`."""
        return tuple(arm for arm in (EARLIER, POOLED) if arm in arms)


class ObservedScores:
    """All scores of members from the observer: under masks or a budget no member gives one.

    Args:
        exchange: The way to the members.
        prepared: The run's input.
        summed: What leaves the members of a network beside it: sums over all of them, or nothing.
    """

    def __init__(self, exchange: Exchange, prepared: Prepared, summed: NoScores) -> None:
        self.validation = summed.validation
        self._aside = exchange.aside()
        self._prepared = prepared
        self._private = mechanism_for(prepared.config.privacy).private
        self._pooled = PooledScores(self._aside, prepared)

    def begin(self) -> None:
        """See `ScoreSource.begin`."""
        self._pooled.begin()

    def closing(self, members: Sequence[str], number: int, shared: FloatVector) -> Arms:
        """See `ScoreSource.closing`."""
        del number
        arms: Arms = {"federated": self._model(members, shared, "test", "kept")}
        if self._prepared.config.references.enabled:
            asked = m.ObserveLocalOnly(shared=m.pack_vector(self._prepared.shared))
            arms["alone"] = local_only_scores(self._aside, members, asked)
        arms |= earlier_scores(self._aside, self._prepared, members)
        arms |= self._pooled.arms(members)
        if self._private:
            arms |= self._under_budget(members, shared)
        arms["naive"] = scores_of(self._aside, members, m.ObserveBaseline(noised=False))
        return arms

    def _under_budget(self, members: Sequence[str], shared: FloatVector) -> Arms:
        """Return the shared model by itself, and the baseline under the same noise."""
        arms: Arms = {"released": self._model(members, shared, "test", "none")}
        noised = self._prepared.task.noised_baseline_name
        if noised is not None:
            arms[noised] = scores_of(self._aside, members, m.ObserveBaseline(noised=True))
        return arms

    def simulation_only(self, arms: Arms) -> tuple[str, ...]:
        """See `ScoreSource.simulation_only`."""
        return tuple(arms)

    def _model(
        self, members: Sequence[str], shared: FloatVector, split: m.SplitName, local: LocalPart
    ) -> Scores:
        request = m.ObserveModel(shared=m.pack_vector(shared), split=split, local=local)
        return scores_of(self._aside, members, request)


def simulated_scores(
    exchange: Exchange, prepared: Prepared, consortium: Consortium
) -> PlainSimulationScores | ObservedScores:
    """Return the source of scores of a simulation."""
    if Protection.of(prepared.config) is Protection.PLAIN:
        return PlainSimulationScores(exchange, prepared)
    summed = sums_alone(exchange, consortium, prepared.task.scored_metrics)
    return ObservedScores(exchange, prepared, summed)
