"""`securefl audit attack`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from securefl_cli.options.run import (
    Real,
    config_argument,
    data_option,
    format_option,
    quiet_option,
    resolve,
    task_option,
)
from securefl_cli.rendering.grid import Column, Table
from securefl_cli.rendering.poison import print_poison
from securefl_cli.rendering.progress import watch
from securefl_cli.rendering.screen import console, print_json

if TYPE_CHECKING:  # torch and Opacus are imported by the command that trains
    from securefl.audit.attacks.report import AttackReport, Finding

_EPSILON = 4.0
_READ_BY_POISON = frozenset({"poison", "task", "seed", "format", "quiet"})


@click.command(
    short_help="Attack private training, and compare what it discloses with the claim.",
    epilog="""\b
    Examples:
      securefl audit attack                          real groceries, epsilon 4
      securefl audit attack --epsilon 1 --seed 3
      securefl audit attack my.toml --canaries 20000
      securefl audit attack --format json > attack.json
      securefl audit attack --poison      what one member does to the others
      securefl audit attack --poison --task recommendation
    """,
)
@config_argument
@task_option
@data_option
@click.option(
    "--epsilon", type=Real(), metavar="E", help="The claim; 4 if neither it nor a CONFIG is given."
)
@click.option("--delta", type=Real(), metavar="D", help="Its delta.")
@click.option("--rounds", type=click.IntRange(min=1), metavar="N", help="Rounds of training.")
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="Seed of data, draws and model."
)
@click.option(
    "--canaries",
    type=click.IntRange(min=200),
    default=5000,
    show_default=True,
    metavar="N",
    help="Synthetic customers, each in or out at random; more of them give tighter bounds.",
)
@click.option(
    "--poison",
    is_flag=True,
    help="Play attacks of a member on the others instead, on small generated federations.",
)
@format_option
@quiet_option
@click.pass_context
def attack(
    ctx: click.Context,
    /,
    *,
    config: Path | None,
    epsilon: float | None,
    canaries: int,
    poison: bool,
    format: str,  # noqa: A002 - named after the option
    quiet: bool,
    **options: Any,  # noqa: ANN401 - the run options, as click parsed them
) -> None:
    """Train privately on this machine and attack what is released.

    Canaries, loss-based membership inference and product rows, each with a lower bound of epsilon
    (95 % confidence) next to the claimed one. Exits with 1 if a claim is refuted. No retailer's
    ledger is charged, and nothing leaves this machine.

    With --poison, members attack the other members: a table of the harm, and of the first round in
    which a vote of the others, or the sum alone, would have noticed it. It has no claim to refute.
    """
    if poison:
        _refuse_unread(ctx)
        _poison(options["task"], options["seed"], format, quiet=quiet)
        return
    claim = _EPSILON if epsilon is None and config is None else epsilon
    resolved = resolve(config, {**options, "dp": "local", "epsilon": claim})
    from securefl.audit.attacks.run import attack as attack_training

    with watch(quiet=quiet) as progress:
        report = attack_training(resolved, canaries=canaries, progress=progress)
    if format == "json":
        print_json(report.to_json())
    else:
        _print(report)
    ctx.exit(0 if report.passed else 1)


def _refuse_unread(ctx: click.Context) -> None:
    """Refuse what only the attacks on a claim read."""
    stated = [
        param.opts[0] if isinstance(param, click.Option) else "a configuration"
        for param in ctx.command.params
        if param.name not in _READ_BY_POISON
        and ctx.get_parameter_source(str(param.name)) is not click.core.ParameterSource.DEFAULT
    ]
    if stated:
        raise click.UsageError(f"--poison makes its own federations and takes no {stated[0]}")


def _poison(task: str | None, seed: int | None, format: str, *, quiet: bool) -> None:  # noqa: A002
    from securefl.audit.attacks.poison.federations import FAMILIES
    from securefl.audit.attacks.poison.report import poison

    families = [name for name, tree in FAMILIES.items() if task in (None, tree["task"])]
    if not families:
        known = ", ".join(tree["task"] for tree in FAMILIES.values())
        raise click.UsageError(f"--poison has no federation of task '{task}'; there are {known}")
    with watch(quiet=quiet) as progress:
        report = poison(families, seed=seed or 0, progress=progress)
    if format == "json":
        print_json(report.to_json())
    else:
        print_poison(report)


def _print(report: AttackReport) -> None:
    from securefl.audit.attacks.report import NOT_SHOWN

    out = console()
    out.line()
    heading = f"epsilon {report.epsilon:.3f} at delta {report.delta:g} for every {report.unit}"
    out.line(f"Attacks on the claim: {heading}", "bold")
    out.line()
    columns = (
        Column("Attack", firm=True),
        Column("What the attacker gets"),
        *(Column(name, right=True, firm=True) for name in ("At least", "Claim", "Verdict")),
    )
    out.table(Table(columns, [_row(finding) for finding in report.findings]))
    out.line()
    outcome = "no claim was refuted" if report.passed else "A CLAIM WAS REFUTED"
    out.line(
        f"{report.canaries:,} canaries, {report.rounds} rounds, customers of {report.member};"
        f" lower bounds of epsilon at {report.confidence:.0%} confidence each: {outcome}."
    )
    out.line("This does not show:")
    for limit in NOT_SHOWN:
        out.line(f"  - {limit}")


def _row(finding: Finding) -> tuple[str, ...]:
    bound, claim = (
        "" if figure is None else f"{figure:.2f}" for figure in (finding.lower_bound, finding.claim)
    )
    return finding.name, finding.gain, bound, claim, finding.verdict
