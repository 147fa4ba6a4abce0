"""Budget reports from the members' ledgers: spent and remaining budget, runs and refusals.

Epsilons of different privacy units are never added or compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from securefl.consortium.ledger.composition import compose
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.events import Cap, Start
from securefl.consortium.ledger.life_loss import ACCOUNTANT
from securefl.consortium.ledger.policy import in_words, policy_of
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger
from securefl.consortium.ledger.privacy_ledger_rows import ReleaseRow, RunRow
from securefl.errors import InputError


@dataclass(frozen=True)
class Account:
    """Budget account of one privacy unit of one data set.

    Attributes:
        member: Owner of the data.
        data_set: Display name of the data set.
        unit: Privacy unit; None for releases without noise.
        runs: Number of runs with releases.
        releases: Number of updates that left the member, or may have left.
        epsilon: Epsilon of their composition at `delta`; None for releases without noise, which
            have no finite epsilon.
        delta: Delta of `epsilon`.
        cap: Cap of the member's policy.
        left: Cap minus epsilon, at least 0.
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
        member: Owner of the ledger.
        started: Time of the start.
        run: Run id, hex.
        directory: The run's directory.
        data_set: Display name of the data set.
        task: Name of the task.
        mode: Aggregation mode.
        dp: Differential-privacy mode.
        unit: Privacy unit; None without differential privacy.
        releases: Number of updates that left the member, or may have left.
        epsilon: Epsilon of this run alone at its delta; None without differential privacy.
        delta: Delta of the run.
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
    """One refusal of a member.

    Attributes:
        member: Owner of the ledger.
        time: Time of the refusal.
        run: Run id, hex.
        round: Number of the round; 0 for the whole run.
        reason: The violated rule.
        text: User-facing message.
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
    """Return the accounts of every data set by privacy unit.

    Args:
        folder: Folder of the ledgers.
        policy: Policy file or folder; the caps of the last runs apply if not given.
        member: Restrict to one member; all members if not given.

    Raises:
        InputError: If a ledger is damaged, or the member has none.
    """
    return tuple(
        account
        for name, ledger in ledgers_in(folder, member)
        for account in _accounts(name, ledger, policy)
    )


def run_lines(folder: Path, member: str | None = None) -> tuple[RunBudgetRow, ...]:
    """Return all runs of all members, the oldest first.

    Raises:
        InputError: If a ledger is damaged, or the member has none.
    """
    ledgers = ledgers_in(folder, member)
    lines = [line for name, ledger in ledgers for line in _run_lines(name, ledger)]
    return tuple(sorted(lines, key=lambda line: line.started))


def refusal_lines(folder: Path, member: str | None = None) -> tuple[RefusalLine, ...]:
    """Return all refusals of all members, the oldest first.

    Raises:
        InputError: If a ledger is damaged, or the member has none.
    """
    ledgers = ledgers_in(folder, member)
    lines = [line for name, ledger in ledgers for line in _refusals(name, ledger)]
    return tuple(sorted(lines, key=lambda line: line.time))


def ledgers_in(folder: Path, member: str | None) -> Iterator[tuple[str, PrivacyLedger]]:
    """Yield the ledgers in a folder with their members; each is closed when the next is opened.

    Raises:
        InputError: If the member has no ledger.
    """
    paths = sorted(folder.glob("*.sqlite"))
    if member is not None:
        paths = [path for path in paths if path.stem == member]
        if not paths:
            raise InputError(f"{folder} holds no ledger of '{member}'")
    for path in paths:
        with closing(PrivacyLedger(path, reading=True)) as ledger:
            yield path.stem, ledger


def _accounts(name: str, ledger: PrivacyLedger, policy: Path | None) -> Iterator[Account]:
    for data_set in ledger.data_sets():
        releases = ledger.releases(data_set.number)
        runs = [row for row in ledger.runs() if row.data_set == data_set.number]
        for unit in _units(releases):
            cap = _cap(name, unit, ledger, runs, policy)
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
        unprotected = [one for one in releases if one.mechanism is None]
        if unprotected:
            count, total = len({one.run for one in unprotected}), len(unprotected)
            yield Account(name, data_set.label, None, count, total, None, None, None, None)


def _cap(
    name: str, unit: str, ledger: PrivacyLedger, runs: list[RunRow], policy: Path | None
) -> Cap | None:
    """Return the cap of the given policy, or else the cap that the last run recorded."""
    stated = policy_of(policy, name)
    if stated is not None:
        found = {str(kind): cap for kind, cap in stated.cap.items()}.get(unit)
        return Cap(epsilon=found.epsilon, delta=found.delta) if found else None
    for row in reversed([row for row in runs if row.unit == unit]):
        start = ledger.entry_of(row.run, "start", 0)
        if start is not None and isinstance(start.event, Start):
            return start.event.cap
    return None


def _run_lines(name: str, ledger: PrivacyLedger) -> Iterator[RunBudgetRow]:
    labels = {one.number: one.label for one in ledger.data_sets()}
    for row in ledger.runs():
        releases = [one for one in ledger.releases(row.data_set) if one.run == row.run]
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


def _refusals(name: str, ledger: PrivacyLedger) -> Iterator[RefusalLine]:
    for entry in ledger.refusals():
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
