"""What the members' books say, for a person: what is spent and left, and in which runs.

Epsilons of different units are never added or compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from securefl.consortium.ledger.composition import compose
from securefl.consortium.ledger.events import Cap, Mechanism, Start
from securefl.consortium.ledger.policy import in_words, policy_of
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, ReleaseRow, RunRow
from securefl.errors import InputError

ACCOUNTANT = "rdp"
"""Prices what may have been priced by several accountants; never below what was spent."""


@dataclass(frozen=True)
class Account:
    """What one unit of one data set has paid.

    Attributes:
        member: Whose data.
        data_set: What the data set is called.
        unit: Whose presence is hidden; None for releases without any noise.
        runs: In how many runs.
        releases: How many updates left the member, or may have.
        epsilon: All of them together, at `delta`; None where no noise was added, which no epsilon
            bounds.
        delta: At which epsilon is given.
        cap: What the member's policy allows.
        left: Cap less epsilon.
    """

    member: str
    data_set: str
    unit: str | None
    runs: int
    releases: int
    epsilon: float | None
    delta: float | None
    cap: Cap | None
    left: float | None


@dataclass(frozen=True)
class RunBudgetRow:
    """One run in a member's history.

    Attributes:
        member: Whose book.
        started: When.
        run: Its name, hex.
        directory: Where its files lay.
        data_set: What the data set is called.
        task: Name of the task.
        mode: How updates travelled.
        dp: How single units were protected.
        unit: Privacy unit; None without differential privacy.
        releases: How many updates left the member, or may have.
        epsilon: This run alone, at its own delta; None without differential privacy.
        delta: Of the run.
        state: `ended`, or `not ended`: killed, failed, or under way.
    """

    member: str
    started: str
    run: str
    directory: str
    data_set: str
    task: str
    mode: str
    dp: str
    unit: str | None
    releases: int
    epsilon: float | None
    delta: float | None
    state: str


@dataclass(frozen=True)
class RefusalLine:
    """Something that a member refused.

    Attributes:
        member: Whose book.
        time: When.
        run: The run, hex.
        round: The round; 0 for the whole run.
        reason: Which rule.
        text: The rule in words.
    """

    member: str
    time: str
    run: str
    round: int
    reason: str
    text: str


def accounts(
    folder: Path, *, policy: Path | None = None, member: str | None = None
) -> tuple[Account, ...]:
    """What every data set has paid, unit by unit.

    Args:
        folder: Folder of the books.
        policy: Where the policies are; the caps of the last runs where not given.
        member: Whose; everybody's where not given.

    Raises:
        InputError: If a book is damaged, or there is none of that member.
    """
    return tuple(
        account
        for name, book in books_in(folder, member)
        for account in _accounts(name, book, policy)
    )


def run_lines(folder: Path, member: str | None = None) -> tuple[RunBudgetRow, ...]:
    """All runs of all members, the oldest first.

    Raises:
        InputError: If a book is damaged, or there is none of that member.
    """
    lines = [line for name, book in books_in(folder, member) for line in _run_lines(name, book)]
    return tuple(sorted(lines, key=lambda line: line.started))


def refusal_lines(folder: Path, member: str | None = None) -> tuple[RefusalLine, ...]:
    """All that members refused, the oldest first.

    Raises:
        InputError: If a book is damaged, or there is none of that member.
    """
    lines = [line for name, book in books_in(folder, member) for line in _refusals(name, book)]
    return tuple(sorted(lines, key=lambda line: line.time))


def books_in(folder: Path, member: str | None) -> Iterator[tuple[str, PrivacyLedger]]:
    """The books of a folder by member, open until the next is asked for.

    Raises:
        InputError: If there is none of that member.
    """
    paths = sorted(folder.glob("*.sqlite"))
    if member is not None:
        paths = [path for path in paths if path.stem == member]
        if not paths:
            raise InputError(f"{folder} holds no book of '{member}'")
    for path in paths:
        with closing(PrivacyLedger(path)) as book:
            yield path.stem, book


def _accounts(name: str, book: PrivacyLedger, policy: Path | None) -> Iterator[Account]:
    for data_set in book.data_sets():
        releases = book.releases(data_set.number)
        runs = [row for row in book.runs() if row.data_set == data_set.number]
        for unit in _units(releases):
            cap = _cap(name, unit, book, runs, policy)
            deltas = [row.delta for row in runs if row.unit == unit and row.delta is not None]
            delta = cap.delta if cap else min(deltas)
            mechanisms = _spent_by(releases, unit)
            epsilon = compose(mechanisms, delta, ACCOUNTANT)
            yield Account(
                member=name,
                data_set=data_set.label,
                unit=unit,
                runs=len({one.run for one in releases if _unit(one) == unit}),
                releases=len(mechanisms),
                epsilon=epsilon,
                delta=delta,
                cap=cap,
                left=None if cap is None else max(0.0, cap.epsilon - epsilon),
            )
        bare = [one for one in releases if one.mechanism is None]
        if bare:
            count = len({one.run for one in bare})
            yield Account(name, data_set.label, None, count, len(bare), None, None, None, None)


def _cap(
    name: str, unit: str, book: PrivacyLedger, runs: list[RunRow], policy: Path | None
) -> Cap | None:
    """The cap of the policy that is shown, or else of the last run's."""
    stated = policy_of(policy, name)
    if stated is not None:
        found = {str(kind): cap for kind, cap in stated.cap.items()}.get(unit)
        return Cap(epsilon=found.epsilon, delta=found.delta) if found else None
    for row in reversed([row for row in runs if row.unit == unit]):
        start = book.entry_of(row.run, "start", 0)
        if start is not None and isinstance(start.event, Start):
            return start.event.cap
    return None


def _run_lines(name: str, book: PrivacyLedger) -> Iterator[RunBudgetRow]:
    labels = {one.number: one.label for one in book.data_sets()}
    for row in book.runs():
        releases = [one for one in book.releases(row.data_set) if one.run == row.run]
        mechanisms = _spent_by(releases, row.unit)
        private = row.delta is not None and row.accountant is not None
        yield RunBudgetRow(
            member=name,
            started=row.started,
            run=row.run,
            directory=row.directory,
            data_set=labels[row.data_set],
            task=row.task,
            mode=row.mode,
            dp=row.dp,
            unit=row.unit,
            releases=len(releases),
            epsilon=compose(mechanisms, row.delta or 0, row.accountant or "") if private else None,
            delta=row.delta,
            state="ended" if row.ended else "not ended",
        )


def _refusals(name: str, book: PrivacyLedger) -> Iterator[RefusalLine]:
    for entry in book.refusals():
        if entry.event.kind == "refusal":
            refusal = entry.event
            yield RefusalLine(
                name, entry.time, entry.run, refusal.round, refusal.reason, in_words(refusal)
            )


def _units(releases: Iterable[ReleaseRow]) -> list[str]:
    return sorted({unit for one in releases if (unit := _unit(one)) is not None})


def _unit(release: ReleaseRow) -> str | None:
    return None if release.mechanism is None else release.mechanism.unit


def _spent_by(releases: Iterable[ReleaseRow], unit: str | None) -> list[Mechanism]:
    mechanisms = (release.mechanism for release in releases)
    return [one for one in mechanisms if one is not None and one.unit == unit]
