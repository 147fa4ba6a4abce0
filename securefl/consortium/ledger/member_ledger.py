"""A member's entries of one run, written to its privacy ledger before anything leaves the member.

Charging comes before use: a release is charged and signed in one durable transaction before its
training begins. A crash in between costs budget for nothing; the opposite order would lose a charge
for an update that has left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.composition import as_event, compose
from securefl.consortium.ledger.data_custody import LedgerContext, RefusedError
from securefl.consortium.ledger.digests import config_digest
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.events import (
    Cap,
    End,
    Event,
    Outcome,
    QuestionRefusal,
    Refusal,
    RefusedQuestion,
    Release,
    UnseenOutcome,
)
from securefl.consortium.ledger.hash_chain import LedgerError, later, next_entry, sign, timestamp
from securefl.consortium.ledger.policy import refuse
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.consortium.ledger.privacy_ledger_rows import ReleaseRow, RunRow
from securefl.consortium.ledger.releases import (
    RequestedRound,
    cap_of,
    opening_event,
    opening_row,
    recorded_mechanism,
    release_event,
    released_before,
    round_end,
)
from securefl.consortium.ledger.witness import UnverifiedTreeHead, sign_head
from securefl.privacy.accounting.events import PrivacyEvent
from securefl.privacy.mechanisms import mechanism_for
from securefl_protocols.primitives.signing import SigningKey


class MemberLedger:
    """Writer of one member's ledger entries in one run.

    Args:
        name: The member's name.
        identity: Its identity key, or the 32 bytes of it.
        consortium: Participants and agreed terms.
        context: Ledger folder, policy and data set of the member.
        directory: The run's directory, recorded in the member's history.
        task: Name of what is run where it is not a training task.
    """

    def __init__(
        self,
        name: str,
        identity: bytes | SigningKey,
        consortium: Consortium,
        context: LedgerContext,
        directory: Path,
        *,
        task: str | None = None,
    ) -> None:
        self.name, self._task = name, task
        self.run = consortium.run_id.hex()
        self.key = SigningKey.of(identity)
        self._consortium, self.config = consortium, consortium.config
        self._context, self._directory = context, directory
        self._asked: RequestedRound | None = None
        self._begun = False

    @cached_property
    def privacy_ledger(self) -> PrivacyLedger:
        """The member's privacy ledger, opened on first use."""
        return PrivacyLedger(book_path(self._context.books, self.name))

    def close(self) -> None:
        """Close the privacy ledger; a later use opens it again."""
        if (ledger := self.__dict__.pop("privacy_ledger", None)) is not None:
            ledger.close()

    def begin(self, units: int, start_model: bytes | None = None) -> None:
        """Record the start of participation; idempotent within a run.

        Args:
            units: Number of privacy units in the data; the entry only commits to it.
            start_model: Digest of the agreed start, as the member computed it; None where nothing
                is trained.

        Raises:
            LedgerError: If the run began under another configuration or agreement.
        """
        if self._begun:
            return
        self._apply_retention()
        if self.privacy_ledger.run(self.run) is None:
            self._open(units, start_model)
        else:
            self._check_same_run()
        self._begun = True

    def enter(self, number: int, cohort: tuple[str, ...], model: str) -> None:
        """Set the current round, before it is trained.

        Args:
            number: Number of the round.
            cohort: Members of the cohort, in roster order.
            model: Digest of the shared model that training starts from, hex.

        Raises:
            LedgerError: If the round's end is recorded.
        """
        if self.end_of_round(number) is not None:
            raise LedgerError(f"round {number} is over")
        self._asked = RequestedRound(number, cohort, model)

    def charge(self, event: PrivacyEvent, *, clip_norm: float, rng: str) -> None:
        """Charge the release that is about to be trained and write its entry, in one transaction.

        Args:
            event: The mechanism, with the sampler as implemented.
            clip_norm: Clip norm of a privacy unit's gradient.
            rng: Source of noise and batches, as implemented.

        Raises:
            RefusedError: If the member's cap does not allow it; nothing is charged.
        """
        asked = self._round
        mechanism = recorded_mechanism(self.config.privacy, event, clip_norm, rng)
        entry = partial(release_event, self.config, asked, mechanism)
        self.charge_entry(asked.number, mechanism, entry)
        self._asked = replace(asked, charged=True)

    def charge_entry(self, number: int, mechanism: Mechanism, entry: Callable[..., Event]) -> None:
        """Charge a mechanism of a round and write its entry, made of epsilon before and after.

        Raises:
            RefusedError: If the member's cap does not allow it; nothing is charged.
        """
        # Reading what is spent and charging belong to one transaction: two runs that share the
        # ledger could otherwise both take the budget that is left for one.
        with self.privacy_ledger.transaction():
            spent = self.privacy_ledger.spent(self._row.data_set, mechanism.unit)
            self._keep_to_cap(number, [*spent, mechanism])
            row = ReleaseRow(self._row.data_set, self.run, number, timestamp(), mechanism)
            self.privacy_ledger.add_release(row)
            after = self._priced([*spent, mechanism])
            self._write(entry(before=self._priced(spent), after=after))

    def check(self, number: int, event: PrivacyEvent, *, clip_norm: float, rng: str) -> None:
        """Refuse what charging an event in round `number` would refuse, without charging.

        Raises:
            RefusedError: If the member's cap does not allow it.
        """
        mechanism = recorded_mechanism(self.config.privacy, event, clip_norm, rng)
        spent = self.privacy_ledger.spent(self._row.data_set, mechanism.unit)
        self._keep_to_cap(number, [*spent, mechanism])

    def trained(self) -> None:
        """Record the release of the trained round, unless `charge` has recorded it.

        A private round without a charge resends an update that was charged before.

        Raises:
            LedgerError: If a private update was never charged.
        """
        if self._round.charged:
            return
        if mechanism_for(self.config.privacy).private:
            self.sent_again()
            return
        with self.privacy_ledger.transaction():
            at = self._row.data_set, self.run, self._round.number, timestamp()
            self.privacy_ledger.add_release(ReleaseRow(*at, None))
            self._write(release_event(self.config, self._round))

    def sent_again(self) -> None:
        """Record that the update of an earlier release is sent again, at no cost.

        Raises:
            LedgerError: If there was no such release.
        """
        asked = self._round
        earlier = self.privacy_ledger.entry_of(self.run, "release", asked.number)
        release = earlier.event if earlier else None
        # Only the same update may go out for free: one trained from another model is a new release.
        if not isinstance(release, Release) or release.model_before != asked.model:
            raise LedgerError(f"no release of round {asked.number} was written down")
        assert earlier is not None
        first = earlier.sequence if release.repeat_of is None else release.repeat_of
        with self.privacy_ledger.transaction():
            self._write(release_event(self.config, asked, repeat_of=first))

    def record(self, event: Event) -> None:
        """Write an event that costs nothing, durably."""
        with self.privacy_ledger.transaction():
            self._write(event)

    def refuse(self, refusal: Refusal) -> None:
        """Record a refusal, once for each round."""
        if self.privacy_ledger.entry_of(self.run, "refusal", refusal.round) is None:
            self.record(refusal)

    def refuse_question(self, question: str, phase: str, reason: QuestionRefusal) -> None:
        """Record a question that is not answered; once a run, so that asking on adds nothing."""
        if question not in self.privacy_ledger.refused_questions(self.run):
            self.record(RefusedQuestion(question=question, phase=phase, reason=reason))

    def conclude(self, event: Outcome | UnseenOutcome) -> None:
        """Record how a round ended, once; a round that was not seen stays unseen.

        Raises:
            LedgerError: If another outcome of the round is recorded already.
        """
        known = self.end_of_round(event.round)
        if known is None:
            self.record(event)
        elif isinstance(known, Outcome) and known != event:
            raise LedgerError(f"round {event.round} ended otherwise before")

    def end_of_round(self, number: int) -> Outcome | UnseenOutcome | None:
        """Return the entry on a round's end; None where there is none yet."""
        return round_end(self.privacy_ledger, self.run, number)

    def end(self, rounds: int) -> None:
        """Record the end of the run; idempotent."""
        if self.privacy_ledger.entry_of(self.run, "end", 0) is not None:
            return
        after = self.life_epsilon() if mechanism_for(self.config.privacy).private else None
        self.record(End(rounds=rounds, epsilon_after=after))

    def entries(self, since: int) -> tuple[bytes, ...]:
        """Return the run's signed entries from a sequence number on.

        Raises:
            LedgerError: If fewer exist: the ledger was replaced or restored from an old copy.
        """
        last = self.privacy_ledger.last_entry(self.run)
        written = 0 if last is None else last.sequence + 1
        if since > written:
            held = f"{written} of this run's {since} entries"
            raise LedgerError(f"{self.privacy_ledger.path} has {held}")
        return self.privacy_ledger.entries(self.run, since)

    def refusal(self) -> Refusal | None:
        """Return the policy's refusal of this run; None where the policy allows it."""
        policy, members = self._context.policy, len(self._consortium.roster)
        return None if policy is None else policy.refusal(self.config, members, self._task)

    def signed_size(self) -> int:
        """Return the size of the last tree head countersigned in this run; 0 before the first."""
        head = self.privacy_ledger.head(self.run)[0]
        return 0 if head is None else head.size

    def countersign(self, shown: UnverifiedTreeHead) -> bytes:
        """See `witness.sign_head`."""
        return sign_head(self.privacy_ledger, self.run, self.key, shown)

    def charged(self) -> tuple[PrivacyEvent, ...]:
        """Return the charges of this run so far; equal events are merged, the latest is last."""
        row = self.privacy_ledger.run(self.run)
        if row is None:
            return ()
        unit = self.config.privacy.unit
        return tuple(map(as_event, self.privacy_ledger.spent(row.data_set, unit, self.run)))

    def last_round(self) -> int:
        """Return the last round of this run with a release; 0 where there is none."""
        row = self.privacy_ledger.run(self.run)
        releases = () if row is None else self.privacy_ledger.releases(row.data_set)
        return max((one.round for one in releases if one.run == self.run), default=0)

    def life_epsilon(self) -> float:
        """Return the epsilon spent over the life of the data, at this run's delta."""
        return self._priced(self.privacy_ledger.spent(self._row.data_set, self.config.privacy.unit))

    @property
    def cap(self) -> Cap | None:
        """The policy's cap for this run's privacy unit over the life of the data."""
        return cap_of(self._context.policy, self.config)

    @property
    def _round(self) -> RequestedRound:
        if self._asked is None:
            raise LedgerError("no round was taken up")
        return self._asked

    @property
    def _row(self) -> RunRow:
        row = self.privacy_ledger.run(self.run)
        if row is None:
            raise LedgerError(f"{self.name} was not asked to take part in this run")
        return row

    def _open(self, units: int, start_model: bytes | None) -> None:
        context, agreement = self._context, self._consortium.signed.agreement
        with self.privacy_ledger.transaction():
            name = None if context.policy is None else context.policy.data_set
            data_set = self.privacy_ledger.data_set(context.digest, name, context.label)
            row = opening_row(self.run, self.config, data_set, units, self._directory)
            row = row if self._task is None else replace(row, task=self._task)
            self.privacy_ledger.add_run(row)
            before = released_before(self.privacy_ledger, data_set.number, row.unit)
            terms = agreement, context.policy, data_set, before
            start = None if start_model is None else start_model.hex()
            self._write(opening_event(row, *terms, start_model=start))

    def _priced(self, mechanisms: list[Mechanism]) -> float:
        return compose(mechanisms, self.config.privacy.delta, self.config.privacy.accountant)

    def _keep_to_cap(self, number: int, mechanisms: list[Mechanism]) -> None:
        if (cap := self.cap) is None:
            return
        after = compose(mechanisms, cap.delta, self.config.privacy.accountant)
        if after > cap.epsilon:
            raise RefusedError(refuse("cap", number=number, asked=after, allowed=cap.epsilon))

    def _write(self, event: Event) -> None:
        """Sign and add the next entry, in the caller's transaction."""
        entry = next_entry(
            last := self.privacy_ledger.last_entry(self.run),
            event,
            run=self.run,
            agreement=self._consortium.digest().hex(),
            member=self.name,
            time=later(last, timestamp()),
        )
        self.privacy_ledger.add_entry(sign(entry, self.key))

    def _check_same_run(self) -> None:
        # After a restart, a coordinator could present other terms under the same run id.
        start = self.privacy_ledger.entry_of(self.run, "start", 0)
        terms = config_digest(self._consortium.signed.agreement), self._consortium.digest().hex()
        begun = None if start is None else (getattr(start.event, "config", None), start.agreement)
        if begun != terms:
            raise LedgerError(f"{self.name} began this run under another agreement")

    def _apply_retention(self) -> None:
        if (policy := self._context.policy) and (oldest := policy.oldest_kept()) is not None:
            self.privacy_ledger.forget_entries_before(timestamp(oldest))
