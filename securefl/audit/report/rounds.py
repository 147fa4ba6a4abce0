"""Report sections on privacy accounts and on rounds: survivors, time, traffic, epsilon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from securefl.audit.explain import Explanation, MemberAccount
from securefl.audit.report.charts import bars_over_rounds, over_rounds
from securefl.audit.report.drawing import Chart
from securefl.audit.report.view_model import Figures, Section
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.runs.result import RunResult
from securefl.federation.scores.ballots import Vote
from securefl.privacy.accounting.spent import UNBOUNDED, privacy_unit
from securefl.privacy.statement import MemberPrivacy

Paths = Mapping[str, Sequence[tuple[int, float]]]
"""Points (round, epsilon over the life of the data after it) by member."""


def privacy(result: RunResult, paths: Paths, story: Explanation | None = None) -> Section:
    """Return the section on each member's privacy account.

    Args:
        result: Result of the run.
        paths: Signed epsilons; empty without a budget.
        story: What the signed entries say, in figures; it alone decides then, whatever the result's
            file says. Without it, the result's figures are unsigned.
    """
    if story is not None:
        return _unprotected() if story.unit is None else _signed_privacy(story, paths)
    account = result.privacy
    if account is None:
        return replace(_unprotected(), unsigned=True)
    caption = f"Unit: {account.protects}; {account.adjacency}; delta {account.delta:g}"
    return Section(
        anchor="privacy",
        title="Privacy of single customers",
        unsigned=True,
        paragraphs=(
            (
                f"Mechanism: {account.mechanism}. Priced by the {account.accountant.upper()}"
                " accountant. A customer of several of these retailers has paid the composition"
                " of theirs, not the largest."
            ),
        ),
        charts=_spending(paths, {one.name: one.cap for one in account.members}),
        tables=(
            Figures(
                caption,
                ("Retailer", *_account_row(account.members[0], account.unit)),
                tuple(
                    (member.name, *_account_row(member, account.unit).values())
                    for member in account.members
                ),
            ),
        ),
    )


def _unprotected() -> Section:
    return Section(
        anchor="privacy",
        title="Privacy of single customers",
        paragraphs=(
            (
                "Nothing was done for it in this run, so there is no epsilon to show. Train"
                " with --dp local --epsilon 4 for a bound that holds against everyone."
            ),
        ),
    )


def _signed_privacy(story: Explanation, paths: Paths) -> Section:
    """Return the section with what members signed, priced a second time."""
    unit = privacy_unit(story.unit or "")
    caption = f"Unit: {unit.name}; {unit.adjacency}; delta {story.delta:g}"
    run, life = story.customer_of_all_run, story.customer_of_all
    several = (
        f" A customer of all these retailers has ε {_shown(run)} by this run, and"
        f" {_shown(life)} over all runs at most."
    )
    return Section(
        anchor="privacy",
        title="Privacy of single customers",
        paragraphs=(f"{_SOURCE}{several if story.unit == 'customer' else ''}",),
        charts=_spending(paths, {one.name: one.cap for one in story.members}),
        tables=(
            Figures(
                caption,
                ("Retailer", *_SIGNED),
                tuple((one.name, *_signed_row(one)) for one in story.members),
            ),
        ),
    )


_SOURCE = "From what the retailers signed, priced again by a second accountant."
_SIGNED = (
    "ε this run",
    "ε over the life of its data, signed",
    "The same, recomputed",
    "Cap",
    "Least noise multiplier",
    "Steps",
)


def _signed_row(member: MemberAccount) -> tuple[str, ...]:
    figures = (
        member.epsilon_run,
        member.epsilon_life,
        member.epsilon_recomputed,
        member.cap,
        member.noise,
    )
    return (*("-" if one is None else f"{one:.3f}" for one in figures), f"{member.steps:,}")


def _shown(epsilon: float | None) -> str:
    return UNBOUNDED if epsilon is None else f"{epsilon:.3f}"


def _account_row(member: MemberPrivacy, unit: str) -> dict[str, str]:
    whole = member.customer_epsilon
    customer = {"ε a customer": "no bound" if whole is None else f"{whole:.3f}"}
    return {
        f"ε a {unit}": f"{member.epsilon:.3f}",
        **({} if privacy_unit(unit).covers_customers else customer),
        "ε over the life of its data": f"{member.life:.3f}",
        "Cap": "none" if member.cap is None else f"{member.cap:g}",
        "Noise multiplier": f"{member.noise_multiplier:.3f}",
        "Clip norm": f"{member.clip_norm:g}",
        "Rate": f"{member.sampling_rate:g}",
        "Steps": str(member.steps),
    }


def _spending(paths: Paths, allowed: Mapping[str, float | None]) -> tuple[Chart, ...]:
    """Return the chart of accounts, with the caps that members have by name."""
    known = {name: points for name, points in paths.items() if points}
    if not known:
        return ()
    caps = {
        f"Cap of {name}" if len(set(allowed.values())) > 1 else "Cap": cap
        for name, cap in allowed.items()
        if cap is not None
    }
    ends = ", ".join(f"{name} {points[-1][1]:.2f}" for name, points in known.items())
    return (
        over_rounds(
            "ε spent, round by round",
            known,
            axis="ε over the life of the data",
            limits=caps,
            description=f"The account of each retailer grows with every round and ends at: {ends}.",
        ),
    )


def rounds(result: RunResult, records: Sequence[RoundRecord]) -> Section:
    """Return the section on the rounds."""
    return Section(
        anchor="rounds",
        title="How the rounds went",
        unsigned=True,
        points=(
            *(f"{r.member} refused: {r.reason}" for r in result.refusals),
            *(f"Sum of round {r.round}: {'; '.join(r.unusual)}" for r in records if r.unusual),
            *(_voted(r.round, r.vote) for r in records if r.vote is not None),
        ),
        charts=_round_charts(records),
        tables=(
            Figures(
                "★ the best round so far on validation; megabytes are those of all retailers",
                ("Round", "Survivors", "Not in the sum", "Time", "MB up", "MB down"),
                tuple(_round_row(record) for record in records),
            ),
        ),
    )


def _voted(number: int, vote: Vote) -> str:
    verdict = "rejected, so that no round begins from it" if vote.rejected else "accepted"
    return f"Vote on the model of round {number}: {verdict} ({vote.reasons})"


def _round_row(record: RoundRecord) -> tuple[str, ...]:
    return (
        f"{record.round}{' ★' if record.best else ''}",
        f"{len(record.survivors)} of {len(record.cohort)}",
        ", ".join(name for name in record.cohort if name not in record.survivors) or "nobody",
        f"{record.seconds:.1f} s",
        f"{_megabytes(record.bytes_up):.2f}",
        f"{_megabytes(record.bytes_down):.2f}",
    )


def _megabytes(traffic: Mapping[str, int]) -> float:
    return sum(traffic.values()) / 1e6


def _round_charts(records: Sequence[RoundRecord]) -> tuple[Chart, ...]:
    if not records:
        return ()
    survivors = {record.round: float(len(record.survivors)) for record in records}
    seconds = {record.round: record.seconds for record in records}
    traffic = {r.round: _megabytes(r.bytes_up) + _megabytes(r.bytes_down) for r in records}
    return (
        bars_over_rounds(
            "Survivors",
            survivors,
            axis="members in the sum",
            description=f"Members in the sum of each round, between {min(survivors.values()):.0f}"
            f" and {max(survivors.values()):.0f}.",
        ),
        bars_over_rounds(
            "Time",
            seconds,
            axis="seconds",
            description=f"Seconds of each round, {sum(seconds.values()):.0f} in all.",
        ),
        bars_over_rounds(
            "Bytes",
            traffic,
            axis="megabytes",
            description=f"Megabytes of all retailers in each round, {sum(traffic.values()):.1f} in"
            " all.",
        ),
    )
