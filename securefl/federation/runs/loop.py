"""The one run loop: restore, round after round, close; a simulation and a service differ in hooks.

A run is built from a `Federation` (the parties, and the way to them), a `RunDirectory` (what is
durable), a `Recorder` (the ledger) and `Hooks` (what one way of running adds). Nothing else runs
rounds, restores them, concludes them in the ledger or evaluates their end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.transcripts import TranscriptArchive
from securefl.errors import InputError
from securefl.federation import messages as m
from securefl.federation.aggregation.base import Aggregator
from securefl.federation.aggregation.fedavg import PlainAggregator
from securefl.federation.aggregation.model_proofs import proved_requests
from securefl.federation.aggregation.secure import SecureAggregator
from securefl.federation.aggregation.sum_figures import RecentSums, SumReader
from securefl.federation.coordinator.ledger_recorder import EndOfRound, Recorder
from securefl.federation.coordinator.rounds import (
    Federation,
    RoundRecord,
    RoundState,
    initial_state,
    is_over,
    run_round,
    spent,
)
from securefl.federation.coordinator.scores import Arms, ScoreSource
from securefl.federation.coordinator.vote import check_accepted
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import Prepared
from securefl.federation.runs.progress import Progress
from securefl.federation.scores.exact import ExactLayout
from securefl.federation.scores.exact_session import sum_exact
from securefl.federation.scores.statement import ReleasedScores, exact_scores
from securefl.federation.transport.exchange import Exchange
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.statement import RunPrivacy, run_privacy

_CLOSING = {
    True: "Comparing with each retailer alone and with all data in one place",
    False: "Evaluating on the test cases",  # without baselines
}


@dataclass(frozen=True)
class Trained:
    """The outcome of the rounds and of the closing evaluation.

    Attributes:
        state: The state after the last round.
        arms: The federation and its references on the test cases.
        privacy: How customers were protected; None without a budget.
        members: The members that took part.
        refused: The members that refused the whole run, and why.
        scores: The scores that every party sees; None in mode `plain` without a budget.
        simulation_only: The scores that only a simulation can see; see `ScoreSource`.
    """

    state: RoundState
    arms: Arms
    privacy: RunPrivacy | None
    members: tuple[str, ...]
    refused: dict[str, str]
    scores: ReleasedScores | None
    simulation_only: tuple[str, ...]


class Hooks:
    """What one way of running adds to the loop; a method that is not overridden does nothing.

    The loop calls them in the order in which they stand here. None of them may change the state.
    """

    def restore(self, federation: Federation, state: RoundState) -> None:
        """Bring members and aggregator to where they were at a checkpoint."""

    def begin_round(self, number: int) -> None:
        """Called before a round runs."""

    def attempt(self, number: int, run: Callable[[], RoundRecord]) -> RoundRecord:
        """Run a round, and decide what a failure of it means; by default it ends the run."""
        del number
        return run()

    def members_saved(self, federation: Federation, done: int) -> None:
        """Save what belongs to a checkpoint: members' states are durable, and it is not yet."""

    def round_saved(self, record: RoundRecord) -> None:
        """Drop what led to a checkpoint, which is durable now."""

    def before_ledger(self) -> None:
        """Called before the members are asked for their ledger entries."""

    def rounds_ended(self, federation: Federation) -> None:
        """Called after the last round."""

    def before_closing(self) -> None:
        """Called before the members are asked for the closing evaluation."""

    def ended(self, federation: Federation) -> None:
        """Called when the ledger is complete, after all requests of the loop."""


@dataclass(frozen=True)
class RoundLoop:
    """A run, from the last checkpoint to the closing evaluation.

    Attributes:
        federation: The parties, and the way to them.
        hooks: What this way of running adds.
        prepared: Task, data and starting model.
        directory: The run's durable files.
        recorder: The coordinator's side of the ledger.
        watch: Receives the progress.
    """

    federation: Federation
    hooks: Hooks
    prepared: Prepared
    directory: RunDirectory
    recorder: Recorder
    watch: Progress

    def run(self) -> Trained:
        """Run the rounds that are left, then evaluate.

        Raises:
            SecureflError: A user-facing error, as one line.
        """
        self.federation.scores.begin()
        state, records = self._restored()
        recent = recent_sums(records)
        self.watch.begin(state.round, self.federation.config.rounds)
        while not is_over(self.prepared.config, state):
            self._round(state, records, recent)
        self.hooks.rounds_ended(self.federation)
        return self._closed(state)

    def _restored(self) -> tuple[RoundState, list[RoundRecord]]:
        """Return the state of the last checkpoint, with members and ledger brought to it.

        The rounds so far are read here alone: a round does not take longer the more there were.
        """
        state = initial_state(self.prepared.config, self.prepared.shared)
        self.directory.keep_start(self.prepared.shared)
        self.directory.restore(state)
        self.hooks.restore(self.federation, state)
        records = self.directory.records()
        for record in records[:-1]:
            self.recorder.ended(**_end(record))
        for record in records[-1:]:
            # A kill may have come between the checkpoint and its entry in the ledger. A member
            # that has concluded the round already answers with the entries that it has.
            self._conclude(record, state)
        self._check_accepted(records, state)
        return state, records

    def _round(self, state: RoundState, records: list[RoundRecord], recent: RecentSums) -> None:
        """Run one round and make it durable.

        Any of the processes can be killed between any two of these lines. The checkpoint is the
        one point at which the round becomes part of the run: before it, a restart repeats the
        round; after it, a restart goes on behind the round. All other writes stand on the side
        where either is right.
        """
        number = state.round + 1
        self.hooks.begin_round(number)
        record = self.hooks.attempt(number, lambda: run_round(self.federation, state))
        record = with_remarks(record, recent)
        # Before the checkpoint: a checkpoint without the members' states could not be restored.
        # A member keeps its state after the round before too, so a round can still be repeated.
        self.federation.save_members(state.round)
        # Before the checkpoint, for the same reason: an aggregator that came back without its
        # session would open one under a number that its members are using. It is stored under
        # the round's number, and the one of the round before is kept until `round_saved`.
        self.hooks.members_saved(self.federation, state.round)
        self.directory.save_round(record, state)
        # After the checkpoint: the answers that led to it are needed as long as the round may
        # have to be repeated, and no status shows a round that a restart takes back.
        self.hooks.round_saved(record)
        # After the checkpoint, and last: members sign here that the round ended with this model,
        # and a signature cannot be taken back. Where a kill prevents it, `_restored` repeats it.
        self._conclude(record, state)
        self.watch.round(record)
        records.append(record)
        self._check_accepted(records, state)

    def _check_accepted(self, records: list[RoundRecord], state: RoundState) -> None:
        run, once = self.prepared.config, self.prepared.task.sums_once
        check_accepted(run, records, state.best_round, sums_once=once)

    def _conclude(self, record: RoundRecord, state: RoundState) -> None:
        self.hooks.before_ledger()
        members = self.federation.members
        self.recorder.conclude(members, **_end(record), proof=state.end_proof)

    def _closed(self, state: RoundState) -> Trained:
        """Evaluate, and have the ledger signed for the last time."""
        federation, config = self.federation, self.prepared.config
        self.watch.stage(_CLOSING[config.references.enabled])
        self.hooks.before_closing()
        # A member keeps the result: for its predictions, and for the figures in its own folder.
        number, shared = state.best_round, state.best_shared
        deliver_result(federation, state)
        arms = federation.scores.closing(federation.members, number, shared)
        scores = closing_scores(federation, state)
        privacy = run_privacy(config, spent(federation))
        # Last of all questions: with it, a member writes its outputs and ends its ledger.
        self.hooks.before_ledger()
        self.recorder.finish(federation.members, state.round)
        self.hooks.ended(federation)
        refused = federation.exchange.refused_in(0)
        only = federation.scores.simulation_only(arms)
        return Trained(
            state, arms, privacy, federation.members, refused, scores=scores, simulation_only=only
        )


def _end(record: RoundRecord) -> EndOfRound:
    """Return how a recorded round ended, as members are told of it."""
    return EndOfRound(
        number=record.round,
        survivors=record.survivors,
        model=bytes.fromhex(record.model),
        transcript=None if record.transcript is None else bytes.fromhex(record.transcript),
        vote=b"" if record.vote is None else record.vote.packed(),
    )


def with_remarks(record: RoundRecord, recent: RecentSums) -> RoundRecord:
    """Return a record with what is out of the ordinary in its sum beside those of rounds before.

    Args:
        record: The record.
        recent: Sums of the rounds before; gets this one too.
    """
    if record.sum is None:
        return record
    return replace(record, unusual=recent.note(record.round, record.sum))


def recent_sums(records: Sequence[RoundRecord]) -> RecentSums:
    """Return the sums that the round after these is compared with."""
    recent = RecentSums()
    for record in records:
        with_remarks(record, recent)
    return recent


def deliver_result(federation: Federation, state: RoundState) -> None:
    """Hand the run's result to all members; each keeps it only if it can tell where it comes from.

    Over a network, a member writes it into its own folder; see `own_figures.py`.
    """
    result = m.Deliver(round=state.best_round, shared=m.pack_vector(state.best_shared))
    members, proof = federation.members, state.best_proof
    federation.exchange.ask(proved_requests(federation.consortium, result, members, proof), m.Done)


def closing_scores(federation: Federation, state: RoundState) -> ReleasedScores | None:
    """Return the scores of the run's result; None in mode `plain` without a budget."""
    config, exchange, shared = federation.config, federation.exchange, state.best_shared
    names = [metric.name for metric in federation.layout.metrics]
    if mechanism_for(config.privacy).private:
        # Opacus takes seconds to import, and a run without a budget does not need it.
        from securefl.federation.scores.coordinator import sum_scores
        from securefl.federation.scores.noised_statement import released_scores

        return released_scores(config, names, sum_scores(exchange, federation.consortium, shared))
    if config.mode == "plain":
        return None
    number = config.rounds + 1
    return exact_scores(
        sum_exact(exchange, federation.consortium, federation.layout, number, shared)
    )


def federation_of(
    prepared: Prepared,
    directory: RunDirectory,
    consortium: Consortium,
    exchange: Exchange,
    members: tuple[str, ...],
    *,
    scores: ScoreSource,
    tries: Path | None = None,
) -> Federation:
    """Return the federation of a run.

    Args:
        prepared: Task, data and starting model.
        directory: The run's directory, for the transcripts of its masked sums.
        consortium: All members and what they agreed on.
        exchange: The way to the members.
        members: Those that take part, in roster order.
        scores: Where scores come from.
        tries: The file of a round's tries, where no journal brings them back after a restart.
    """
    config = prepared.config
    archive = TranscriptArchive(directory.transcripts, config.ledger.transcript_mebibytes)
    return Federation(
        config=config,
        roster=consortium.roster.names,
        members=members,
        exchange=exchange,
        aggregator=aggregator_of(consortium, archive, tries),
        archive=archive,
        decisive=prepared.task.metrics[0],
        consortium=consortium,
        layout=ExactLayout(prepared.task.scored_metrics),
        scores=scores,
        sums=SumReader.of(config, prepared.task, prepared.facts),
    )


def aggregator_of(
    consortium: Consortium, archive: TranscriptArchive | None = None, tries: Path | None = None
) -> Aggregator:
    """Return the aggregator of the agreed mode.

    Args:
        consortium: The parties and their agreement.
        archive: Gets the transcripts of rejected sums.
        tries: See `federation_of`.
    """
    if consortium.config.mode == "plain":
        return PlainAggregator()
    rejected = None if archive is None else archive.keep_rejected
    return SecureAggregator(consortium, rejected, tries)


def taking_part(recorder: Recorder, exchange: Exchange) -> tuple[str, ...]:
    """Return the members that take part in a run, in roster order.

    Raises:
        InputError: If all of them refuse.
    """
    members = recorder.begin()
    if not members:
        name, text = next(iter(exchange.refused_in(0).items()))
        raise InputError(f"no member takes part: {name} refused: {text}")
    return members
