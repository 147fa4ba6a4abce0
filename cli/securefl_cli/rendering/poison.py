"""The table of a member's attacks on the others, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from securefl_cli.rendering.grid import Column, Table
from securefl_cli.rendering.screen import console

if TYPE_CHECKING:  # torch is imported by the command that trains
    from securefl.audit.attacks.poison.report import Harm, PoisonReport


def print_poison(report: PoisonReport) -> None:
    """Print the table, a row an attack and federation."""
    from securefl.audit.attacks.poison.report import NOT_SHOWN

    out = console()
    out.line()
    out.line("Attacks of members on the other members, unprotected and without noise", "bold")
    out.line()
    columns = (
        Column("Task", firm=True),
        Column("Hostile", firm=True),
        Column("Attack", firm=True),
        Column("Metric"),
        *(Column(name, right=True, firm=True) for name in ("Honest", "Attacked")),
        Column("Its products in a list"),
        Column("Vote rejects"),
        Column("Sum stands out"),
    )
    out.table(Table(columns, [_row(row) for row in report.rows]))
    out.line()
    out.line(
        "Metric over the test cases of all honest members' customers after the last round; the vote"
        " and the sum by the first round in which they notice it, of all rounds."
    )
    out.line("This does not show:")
    for limit in NOT_SHOWN:
        out.line(f"  - {limit}")


def _row(row: Harm) -> tuple[str, ...]:
    exposure = (
        ""
        if row.exposure is None or row.honest_exposure is None
        else f"{row.honest_exposure:.2f} to {row.exposure:.2f}"
    )
    reason = row.vote_reason.removeprefix("reject: ")
    return (
        row.family,
        f"{row.hostile} of {row.members}",
        row.attack,
        row.metric,
        f"{row.honest:.3f}",
        f"{row.value:.3f}",
        exposure,
        _round(row.vote_round, row.rounds) + (f": {reason}" if reason else ""),
        _round(row.sum_round, row.rounds),
    )


def _round(number: int | None, rounds: int) -> str:
    return "no" if number is None else f"round {number} of {rounds}"
