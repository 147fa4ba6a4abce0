"""`securefl member`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from securefl_cli.commands.beside import begin_log, show_page
from securefl_cli.group import Interrupted
from securefl_cli.options.network import (
    connection_options,
    log_options,
    own_data_option,
    own_policy_option,
    page_option,
    schedule_option,
    state_option,
)
from securefl_cli.options.passphrase import unlocked
from securefl_cli.rendering.screen import console, copyable

if TYPE_CHECKING:  # with them comes torch
    from securefl.consortium.ledger.policy import Policy
    from securefl.federation.member.own_figures import OwnFigures
    from securefl.federation.services.bootstrap import ConnectionContext


@click.command(
    short_help="Take part in a run as a member on a machine of its own.",
    epilog="""\b
    Examples:
      securefl member agreement.toml --key north.key --facts agreed.facts \\
          --data tables
      securefl member agreement.toml --key north.key --facts agreed.facts \\
          --data tables --policy policy.toml --state /var/lib/securefl
      securefl member a.toml --key n.key --facts facts --data tables --schedule
    """,
)
@connection_options
@own_data_option
@state_option
@click.option(
    "--book",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of your privacy ledger, for the life of your data; a default if not given.",
)
@own_policy_option
@click.option(
    "--from",
    "from_",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Your own model of the run that this one goes on from, as was agreed (start.model).",
)
@click.option(
    "--flower",
    type=click.Path(path_type=Path),
    metavar="SOCKET",
    help="Make this socket for a SuperNode of Flower on this machine, in place of the broker.",
)
@schedule_option("Take every run of the agreed schedule, from --run on, each when it is due.")
@page_option
@log_options
def member(
    *,
    agreement: Path,
    key: Path,
    facts: Path,
    passphrase_file: Path | None,
    run_name: str,
    data: Path | None,
    state: Path,
    book: Path | None,
    policy: Path | None,
    from_: Path | None,
    flower: Path | None,
    schedule: bool,
    page: int | None,
    log: Path | None,
    log_size: int,
    log_files: int,
) -> None:
    """Answer the coordinator's requests until the run is over.

    Start it again after a crash: it resumes where it was. It writes a log to stderr or to
    --log, one JSON object a line.
    """
    from securefl.consortium.ledger.data_custody import default_books
    from securefl.consortium.ledger.policy import load_policy
    from securefl.federation.services.bootstrap import connection_context
    from securefl.federation.services.member import MemberPaths, folder_of_run, serve
    from securefl.federation.services.member_presence import BROKER, relayed
    from securefl.federation.services.member_status import read_member_status
    from securefl_cli.rendering.disclosures import print_disclosed

    if flower is not None and schedule:
        raise click.UsageError("--flower takes one run; --schedule needs the broker")
    begin_log(log, log_size, log_files)
    private = unlocked(key, passphrase_file)

    def rules() -> Policy | None:
        return None if policy is None else load_policy(policy)

    def enter(run: str) -> ConnectionContext:
        broker = flower is None
        return connection_context(agreement, private, facts, run, policy=rules(), broker=broker)

    first = enter(run_name)
    print_disclosed(console(), first.signed.agreement.config)
    paths = MemberPaths(state, book or default_books(), rules(), data, from_)
    place = state if schedule else folder_of_run(first, state)
    try:
        with show_page(page, lambda: read_member_status(place), state):
            if not schedule:
                figures = serve(first, paths, relayed(flower) if flower else BROKER)
                console().whole(
                    f"Run {run_name} of this agreement is over; another needs another --run NAME."
                )
                _conclude(figures)
                return
            from securefl.federation.services.schedule import followed
            from securefl_cli.rendering.progress import announce

            for figures in followed(enter, first.number, paths, announce):
                _conclude(figures)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; go on with the same command") from None
    console().whole("All runs of the schedule are over; a new version of the agreement has more.")


def _conclude(figures: OwnFigures | None) -> None:
    """Print where a run's result is, and the member's own figures."""
    if figures is None:
        return
    out = console()
    out.whole(f"Your own figures, sent to nobody: {figures.path}")
    for arm, numbers in figures.metrics.items():
        out.whole(f"  {arm}: {_headline(numbers)}")
    model = figures.path.parent / "model"
    if model.is_dir():
        copyable(out, "Model", str(model))
        copyable(out, "Next", f"securefl predict {model} --data DIR --out FILE")


def _headline(numbers: Mapping[str, float]) -> str:
    """Return the metrics that a summary shows, as text."""
    from securefl.config.metric_labels import LABELS, shown, title

    headline = [name for name in numbers if name in LABELS and LABELS[name].headline]
    return ", ".join(f"{title(name)} {shown(name, numbers[name])}" for name in headline)
