"""What a member writes down of a run, in its own book, before anything of it leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.composition import as_event, compose
from securefl.consortium.ledger.data_custody import LedgerContext, RefusedError
from securefl.consortium.ledger.digests import config_digest
from securefl.consortium.ledger.events import (
    Cap,
    End,
    Event,
    Mechanism,
    Outcome,
    Refusal,
    Release,
    Start,
)
from securefl.consortium.ledger.hash_chain import LedgerError, next_entry, sign, timestamp
from securefl.consortium.ledger.policy import refuse
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, ReleaseRow, RunRow, book_path
from securefl.consortium.ledger.releases import (
    RequestedRound,
    cap_of,
    opening_event,
    opening_row,
    recorded_mechanism,
    release_event,
)
from securefl.consortium.ledger.witness import UnverifiedTreeHead, sign_head
from securefl.privacy.accounting.events import PrivacyEvent
from securefl.privacy.mechanisms import mechanism_for
from securefl_protocols.primitives.signing import SigningKey


class MemberLedger:
    """Writes one run's entries.

    Args:
        name: The member's name.
        identity: Its private Ed25519 key, 32 bytes.
        consortium: Who takes part, and what was agreed.
        custody: Book, policy and data set.
        directory: Where the run's files lie, for the member's own history.
        task: What is done where it is no task of a training.
    """

    def __init__(
        self,
        name: str,
        identity: bytes,
        consortium: Consortium,
        custody: LedgerContext,
        directory: Path,
        *,
        task: str | None = None,
    ) -> None:
        self.name = name
        self._task = task
        self.run = consortium.run_id.hex()
        self.key = SigningKey(identity)
        self._consortium = consortium
        self._config = consortium.config
        self._custody = custody
        self._directory = directory
        self._asked: RequestedRound | None = None
        self._begun = False

    @cached_property
    def book(self) -> PrivacyLedger:
        """The member's book, opened when it is first needed."""
        return PrivacyLedger(book_path(self._custody.books, self.name))

    def close(self) -> None:
        """Close the book; it is opened again should it be needed again."""
        book = self.__dict__.pop("book", None)
        if book is not None:
            book.close()

    def begin(self, units: int) -> None:
        """Write that the member takes part; once a run, however often it is asked.

        Args:
            units: Number of units in the data; the entry only commits to it.

        Raises:
            LedgerError: If the run began under another configuration or agreement.
        """
        if self._begun:
            return
        self._forget_what_is_old()
        if self.book.run(self.run) is None:
            self._open(units)
        else:
            self._check_same_run()
        self._begun = True

    def enter(self, number: int, cohort: tuple[str, ...], model: str) -> None:
        """Take up a round, before it is trained.

        Args:
            number: Number of the round.
            cohort: Who is asked, in roster order.
            model: Digest of the shared model that training starts from, hex.

        """
        self._asked = RequestedRound(number, cohort, model)

    def charge(self, event: PrivacyEvent, *, clip_norm: float, rng: str) -> None:
        """Write the release that is about to be trained, and what it costs, in one transaction.

        Args:
            event: The mechanism, with the sampler as implemented.
            clip_norm: Largest norm of a unit's gradient.
            rng: Where noise and batches come from, as implemented.

        Raises:
            RefusedError: If the member's cap does not allow it; nothing is charged.
        """
        asked, mechanism = (
            self._round,
            recorded_mechanism(self._config.privacy, event, clip_norm, rng),
        )
        with self.book.transaction():
            spent = self.book.spent(self._row.data_set, mechanism.unit)
            self._keep_to_cap(asked.number, [*spent, mechanism])
            self._release(
                mechanism,
                before=self._priced(spent),
                after=self._priced([*spent, mechanism]),
            )
        self._asked = replace(asked, charged=True)

    def check(self, event: PrivacyEvent, *, clip_norm: float, rng: str) -> None:
        """Refuse what `charge` would refuse; nothing is charged.

        Raises:
            RefusedError: If the member's cap does not allow it.
        """
        mechanism = recorded_mechanism(self._config.privacy, event, clip_norm, rng)
        spent = self.book.spent(self._row.data_set, mechanism.unit)
        self._keep_to_cap(self._round.number, [*spent, mechanism])

    def trained(self) -> None:
        """Write the release of the round that was trained, unless its charge did.

        A private round without a charge sends the update that was paid for before.

        Raises:
            LedgerError: If a private update was never paid for.
        """
        if self._round.charged:
            return
        if mechanism_for(self._config.privacy).private:
            self.sent_again()
            return
        with self.book.transaction():
            self._release(None)

    def sent_again(self) -> None:
        """Write that the update of an earlier release leaves once more.

        Raises:
            LedgerError: If there was no such release.
        """
        asked = self._round
        earlier = self.book.entry_of(self.run, "release", asked.number)
        release = earlier.event if earlier else None
        if not isinstance(release, Release) or release.model_before != asked.model:
            raise LedgerError(f"no release of round {asked.number} was written down")
        assert earlier is not None
        first = earlier.sequence if release.repeat_of is None else release.repeat_of
        with self.book.transaction():
            self._write(release_event(self._config, asked, repeat_of=first))

    def refuse(self, refusal: Refusal) -> None:
        """Write a refusal, once for each round."""
        if self.book.entry_of(self.run, "refusal", refusal.round) is None:
            with self.book.transaction():
                self._write(refusal)

    def conclude(
        self, number: int, survivors: tuple[str, ...], model: str, transcript: str | None
    ) -> None:
        """Write how a round ended; once, however often it is told.

        Raises:
            LedgerError: If it is told differently from before.
        """
        event = Outcome(round=number, survivors=survivors, model_after=model, transcript=transcript)
        known = self.book.entry_of(self.run, "outcome", number)
        if known is not None:
            if known.event != event:
                raise LedgerError(f"round {number} ended otherwise before")
            return
        with self.book.transaction():
            self._write(event)

    def end(self, rounds: int) -> None:
        """Write that the run is over; once."""
        last = self.book.last_entry(self.run)
        if last is not None and isinstance(last.event, End):
            return
        private = mechanism_for(self._config.privacy).private
        after = self.life_epsilon() if private else None
        with self.book.transaction():
            self._write(End(rounds=rounds, epsilon_after=after))

    def entries(self, since: int) -> tuple[bytes, ...]:
        """The run's signed entries from a sequence number on.

        Raises:
            LedgerError: If fewer were ever written: the book is not the one it was.
        """
        last = self.book.last_entry(self.run)
        written = 0 if last is None else last.sequence + 1
        if since > written:
            raise LedgerError(f"{self.book.path} has {written} of this run's {since} entries")
        return self.book.entries(self.run, since)

    def refusal(self) -> Refusal | None:
        """Why the member's policy forbids this run; None where it does not."""
        policy, members = self._custody.policy, len(self._consortium.roster)
        return None if policy is None else policy.refusal(self._config, members, self._task)

    def signed_size(self) -> int:
        """Size of the last head of this run that was countersigned; 0 before the first."""
        head, _ = self.book.head(self.run)
        return 0 if head is None else head.size

    def countersign(self, shown: UnverifiedTreeHead) -> bytes:
        """See `witness.sign_head`."""
        return sign_head(self.book, self.run, self.key, shown)

    def charged(self) -> tuple[PrivacyEvent, ...]:
        """What this run was charged so far; equal events are joined, the last one is last."""
        row = self.book.run(self.run)
        if row is None:
            return ()
        unit = self._config.privacy.unit
        return tuple(map(as_event, self.book.spent(row.data_set, unit, self.run)))

    def last_round(self) -> int:
        """The last round of this run with a release; 0 where there is none."""
        row = self.book.run(self.run)
        releases = () if row is None else self.book.releases(row.data_set)
        rounds = [release.round for release in releases if release.run == self.run]
        return max(rounds, default=0)

    def life_epsilon(self) -> float:
        """What the data have paid over their life, at this run's delta."""
        return self._priced(self.book.spent(self._row.data_set, self._config.privacy.unit))

    @property
    def cap(self) -> Cap | None:
        """What the member's policy allows this run's unit over the life of the data."""
        return cap_of(self._custody.policy, self._config)

    @property
    def _round(self) -> RequestedRound:
        if self._asked is None:
            raise LedgerError("no round was taken up")
        return self._asked

    @property
    def _row(self) -> RunRow:
        row = self.book.run(self.run)
        if row is None:
            raise LedgerError(f"{self.name} was not asked to take part in this run")
        return row

    def _open(self, units: int) -> None:
        custody, agreement = self._custody, self._consortium.signed.agreement
        policy = custody.policy
        with self.book.transaction():
            name = policy.data_set if policy else None
            data_set = self.book.data_set(custody.digest, name, custody.label)
            row = opening_row(self.run, self._config, data_set, units, self._directory)
            row = row if self._task is None else replace(row, task=self._task)
            self.book.add_run(row)
            spent = self.book.spent(data_set.number, row.unit) if row.unit else []
            bare = self.book.unprotected(data_set.number)
            start = opening_event(row, agreement, policy, data_set, spent=spent, unprotected=bare)
            self._write(start)

    def _priced(self, mechanisms: list[Mechanism]) -> float:
        settings = self._config.privacy
        return compose(mechanisms, settings.delta, settings.accountant)

    def _keep_to_cap(self, number: int, mechanisms: list[Mechanism]) -> None:
        cap = self.cap
        if cap is None:
            return
        after = compose(mechanisms, cap.delta, self._config.privacy.accountant)
        if after > cap.epsilon:
            raise RefusedError(refuse("cap", number=number, asked=after, allowed=cap.epsilon))

    def _release(
        self, mechanism: Mechanism | None, before: float | None = None, after: float | None = None
    ) -> None:
        """Charge and write in the caller's transaction."""
        asked = self._round
        self.book.add_release(
            ReleaseRow(self._row.data_set, self.run, asked.number, timestamp(), mechanism)
        )
        self._write(release_event(self._config, asked, mechanism, before=before, after=after))

    def _write(self, event: Event) -> None:
        """Sign the next entry, in the caller's transaction."""
        entry = next_entry(
            self.book.last_entry(self.run),
            event,
            run=self.run,
            agreement=self._consortium.digest().hex(),
            member=self.name,
            time=timestamp(),
        )
        self.book.add_entry(sign(entry, self.key))

    def _check_same_run(self) -> None:
        start = self.book.entry_of(self.run, "start", 0)
        same = (
            start is not None
            and isinstance(start.event, Start)
            and start.event.config == config_digest(self._consortium.signed.agreement)
            and start.agreement == self._consortium.digest().hex()
        )
        if not same:
            raise LedgerError(f"{self.name} began this run under another agreement")

    def _forget_what_is_old(self) -> None:
        policy = self._custody.policy
        if policy is not None and policy.retention_days is not None:
            days = timedelta(days=policy.retention_days)
            self.book.forget_entries_before(timestamp(datetime.now(UTC) - days))
