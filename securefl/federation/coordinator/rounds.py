"""One round, top to bottom: train -> aggregate -> apply -> evaluate."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from securefl.config.early_stopping import ends_early
from securefl.config.schema import RunConfig
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.transcripts import TranscriptArchive
from securefl.errors import InputError, SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.base import Aggregate, Aggregator
from securefl.federation.aggregation.cohort import agreed_cohort
from securefl.federation.aggregation.model_proofs import ModelProof, RoundEnd, moments_digest
from securefl.federation.aggregation.server_optimizer import ServerOptimizer
from securefl.federation.aggregation.sum_figures import SumFigures, SumReader
from securefl.federation.coordinator.scores import RoundScores, ScoreSource
from securefl.federation.coordinator.vote import hold_vote
from securefl.federation.scores.ballots import Vote
from securefl.federation.scores.exact import ExactLayout
from securefl.federation.transport.base import DeadlineExceeded
from securefl.federation.transport.exchange import (
    Exchange,
    MemberFailedError,
    MemberInputError,
)
from securefl.ml.metrics.spec import MetricSpec
from securefl.ml.vectors import FloatVector, model_digest
from securefl.privacy.mechanisms import mechanism_for
from securefl.untrusted.text import one_line

_log = logging.getLogger(__name__)

REJECTED: Final = "the members rejected its model"


@dataclass
class RoundState:
    """The state of a run after a round; a checkpoint is this and the members' own states.

    Attributes:
        round: Rounds done.
        shared: The shared model, float32 [d].
        server: The server optimizer with its moments.
        best_round: The round that was best on validation so far; 0 before the first.
        best_value: Its decisive metric.
        best_shared: Its shared model.
        proof: What proves the shared model: what members signed that verified the sum behind it;
            None where nothing was masked, and before the first.
        best_proof: The same of the best round.
        end_proof: What proves the end of the last round, also where its model was rejected.
    """

    round: int
    shared: FloatVector
    server: ServerOptimizer
    best_round: int
    best_value: float
    best_shared: FloatVector
    proof: ModelProof | None = None
    best_proof: ModelProof | None = None
    end_proof: ModelProof | None = None


@dataclass(frozen=True)
class RoundRecord:
    """The record of a round, one line of `metrics.jsonl`.

    Attributes:
        round: Its number, from 1.
        cohort: The members of the round.
        survivors: The members whose change is in the mean.
        loss: Weighted mean training loss.
        validation: The metrics over all members' validation cases; none where no scores leave.
        best: Whether it is the best round so far.
        seconds: Wall time.
        epsilon: The largest epsilon that a member has spent in this run; None without a budget.
        customer_epsilon: The same for a whole customer where records are the privacy unit, infinite
            where no bound is known; None where customers are.
        refused: The members that refused to take part, with their reasons.
        left_out: The members of the cohort that are not in the sum, with their reasons.
        bytes_up: Bytes received from each member in training and evaluation.
        bytes_down: Bytes sent to each member in training and evaluation.
        transcript: Digest of the masked sum's transcript, hex; None in mode `plain`.
        unscored: Why the scores of its model are missing where they were asked for; empty if not.
        sum: Figures of its sum; None in a record that no round made.
        unusual: What of them is out of the ordinary beside earlier rounds; see `remarks`.
        vote: The members' vote on its model; None where none was held.
        model: Digest of the shared model that it ended with, hex; empty in a record that no round
            made.
    """

    round: int
    cohort: tuple[str, ...]
    survivors: tuple[str, ...]
    loss: float
    validation: dict[str, float]
    best: bool
    seconds: float
    epsilon: float | None = None
    customer_epsilon: float | None = None
    refused: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    bytes_up: dict[str, int] = field(default_factory=dict)
    bytes_down: dict[str, int] = field(default_factory=dict)
    transcript: str | None = None
    unscored: str = ""
    sum: SumFigures | None = None
    unusual: tuple[str, ...] = ()
    vote: Vote | None = None
    model: str = ""


@dataclass(frozen=True)
class Federation:
    """The parties of a run, and the way to them.

    Attributes:
        config: The run's configuration.
        roster: All members, in roster order; cohorts are drawn from them.
        members: Those of them that take part.
        exchange: The way to them.
        aggregator: Combines a cohort's changes into one.
        archive: The transcripts of masked sums.
        decisive: The metric that selects the best round on validation.
        consortium: All members and what they agreed on.
        layout: All metrics of the task, as members sum them.
        scores: Where scores come from.
        sums: Reads the sums, which every member sees too.
    """

    config: RunConfig
    roster: tuple[str, ...]
    members: tuple[str, ...]
    exchange: Exchange
    aggregator: Aggregator
    archive: TranscriptArchive
    decisive: MetricSpec
    consortium: Consortium
    layout: ExactLayout
    scores: ScoreSource
    sums: SumReader

    def save_members(self, round_number: int) -> None:
        """Have every member make its state after a round durable."""
        self.exchange.ask_all(self.members, m.Save(round=round_number), m.Done)

    def restore_members(self, round_number: int) -> None:
        """Bring every member back to its state after a round; 0 is the fresh state."""
        if round_number:
            self.exchange.ask_all(self.members, m.Restore(round=round_number), m.Done)


def _check_enough(federation: Federation, survivors: Sequence[str]) -> None:
    """Refuse a sum of fewer members than the agreement demands for its task.

    A masked session unmasks no such sum; in mode `plain` nothing else would stop it.
    """
    least = federation.consortium.signed.agreement.least
    if len(survivors) < least:
        raise MemberFailedError(
            f"{len(survivors)} members are left in the round, and the agreement demands {least} for"
            f" {federation.config.task}"
        )


def is_over(config: RunConfig, state: RoundState) -> bool:
    """Return whether no round is left: all were run, or the agreed patience has ended.

    Members hold the coordinator to the same rule, by the rounds' numbers (`answer_gate.py`).
    """
    if state.round >= config.rounds:
        return True
    return ends_early(config, last=state.round, best=state.best_round)


def initial_state(config: RunConfig, shared: FloatVector) -> RoundState:
    """Return the state before the first round."""
    server = ServerOptimizer(config.server, shared.shape[0])
    return RoundState(0, shared, server, 0, float("nan"), shared)


def run_round(federation: Federation, state: RoundState) -> RoundRecord:
    """Run one round, change `state` to the state after it, and return its record."""
    started, exchange = time.perf_counter(), federation.exchange
    up, down = Counter(exchange.bytes_up), Counter(exchange.bytes_down)
    exchange.forget_failures()
    number = state.round + 1
    cohort = agreed_cohort(federation.config, federation.roster, number)
    result = federation.aggregator.aggregate(exchange, number, state.shared, cohort)
    _check_enough(federation, result.survivors)
    transcript = federation.archive.keep(number, result.transcript)
    left_out = {
        name: exchange.why_left_out(name, number) for name in cohort if name not in result.survivors
    }
    accepted = state.shared, state.server.pack(), state.proof
    state.shared = state.server.apply(state.shared, result.change)
    state.round, model = number, model_digest(state.shared)
    _prove(federation, state, result)
    with _for_good(number):
        ended = number, state.shared, state.proof
        vote = hold_vote(exchange, federation.consortium, federation.members, ended)
        scores, best = RoundScores({}, missing=REJECTED), False
        if vote is not None and vote.rejected:
            _go_back(federation, state, accepted)
        else:
            scores = _validated(federation, state)
            # A round between two votes is no result: nothing says that its model is accepted.
            voted = vote is not None or federation.config.vote is None
            best = voted and _keep_if_best(federation, state, scores.metrics)
        # After the round, so that the record has what it cost; the accounts depend on no data.
        accounts = tuple(spent(federation).values())
    return RoundRecord(
        round=number,
        cohort=cohort,
        survivors=result.survivors,
        loss=result.loss,
        validation=dict(scores.metrics),
        best=best,
        seconds=time.perf_counter() - started,
        epsilon=max((account.epsilon for account in accounts), default=None),
        customer_epsilon=_for_a_customer(federation.config, accounts),
        refused=exchange.refused_in(0) | exchange.refused_in(number),
        left_out=left_out,
        bytes_up=_more(exchange.bytes_up, up, federation.roster),
        bytes_down=_more(exchange.bytes_down, down, federation.roster),
        transcript=transcript,
        unscored=scores.missing,
        sum=federation.sums.figures(result.change, result.samples),
        vote=vote,
        model=model.hex(),
    )


def _go_back(
    federation: Federation,
    state: RoundState,
    accepted: tuple[FloatVector, bytes, ModelProof | None],
) -> None:
    """Take a rejected model back: the next round begins from the last accepted one.

    The round itself stays as it was: its number is used up, and no update enters a second sum.

    Args:
        federation: The parties.
        state: The state after the round; changed.
        accepted: The model before it (float32 [d]), the optimizer's moments, and their proof.
    """
    state.shared, moments, state.proof = accepted
    state.server.unpack(moments)
    if state.proof is not None:
        federation.aggregator.hand_over(state.proof, moments, state.proof.signatures)


@contextmanager
def _for_good(number: int) -> Iterator[None]:
    """Have a failure end the run where the state has the round's sum already.

    A failed round is tried again; with this state, the try would be the round behind it.
    """
    try:
        yield
    except MemberInputError:
        raise
    except (MemberFailedError, DeadlineExceeded) as error:
        raise SecureflError(f"round {number} has a sum, and does not end: {error}") from None


def _prove(federation: Federation, state: RoundState, result: Aggregate) -> None:
    """Keep what proves the present model, and hand it over for members that did not verify it."""
    if federation.config.mode == "plain":
        return
    moments = state.server.pack()
    end = RoundEnd(
        state.round, result.survivors, model_digest(state.shared), moments_digest(moments)
    )
    state.proof = state.end_proof = ModelProof.of(federation.consortium, end, result.signatures)
    federation.aggregator.hand_over(state.proof, moments, state.proof.signatures)


def _more(now: Counter[str], before: Counter[str], names: Sequence[str]) -> dict[str, int]:
    return {name: now[name] - before[name] for name in names}


def spent(federation: Federation) -> dict[str, m.BudgetResponse]:
    """Return each member's account; none without a budget."""
    if not mechanism_for(federation.config.privacy).private:
        return {}
    return federation.exchange.ask_all(federation.members, m.BudgetRequest(), m.BudgetResponse)


def _for_a_customer(config: RunConfig, accounts: Sequence[m.BudgetResponse]) -> float | None:
    if not accounts or mechanism_for(config.privacy).unit.covers_customers:
        return None
    known = [account.customer_epsilon for account in accounts]
    return max(math.inf if epsilon is None else epsilon for epsilon in known)


def _validated(federation: Federation, state: RoundState) -> RoundScores:
    """Return the present model's metrics on validation; none under a budget.

    Raises:
        InputError: If no round can be told from another, as the decisive metric is not a number: it
            has no case at any member, is not defined over those that there are (an AUC where all
            customers are of one class), or the predictions are not finite.
    """
    found = federation.scores.validation(
        federation.members, state.round, state.shared, proof=state.proof
    )
    if found.missing:
        _log.warning("round %d has no scores: %s", state.round, found.missing)
    name = federation.decisive.name
    if not math.isnan(found.metrics.get(name, 0.0)):
        return found
    error = InputError(
        f"no round can be judged: over the validation cases of {len(federation.members)}"
        f" members, {name} is not a number. Either there are too few cases, or all are alike"
        " (see: securefl data describe), or the training diverged (lower its learning rates)"
    )
    if federation.config.mode == "plain":
        raise error
    # Over a network any member can have done this to a sum under masks, and must not stop the rest.
    federation.exchange.set_aside(error)
    return RoundScores({}, missing=one_line(str(error)))


def _keep_if_best(
    federation: Federation, state: RoundState, validation: Mapping[str, float]
) -> bool:
    """Keep a round that is the best so far; under a budget, the last round is the result."""
    private = mechanism_for(federation.config.privacy).private
    judged = not math.isnan(state.best_value)
    if not (validation or private) and judged:
        return False  # the sum of its scores failed, so nothing says that it is better
    # As long as none is judged, the newest is kept: whose scores fail must not choose the round.
    value = validation.get(federation.decisive.name, math.nan)
    if validation and judged and not federation.decisive.better(value, state.best_value):
        return False
    state.best_round, state.best_value, state.best_shared = state.round, value, state.shared
    state.best_proof = state.proof
    federation.exchange.ask_all(federation.members, m.Keep(round=state.round), m.Done)
    return True
