"""`securefl coordinator`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from securefl_cli.commands.beside import begin_log, show_page
from securefl_cli.group import Interrupted
from securefl_cli.options.network import (
    connection_options,
    log_options,
    page_option,
    schedule_option,
    seconds_option,
)
from securefl_cli.options.passphrase import unlocked
from securefl_cli.options.run import format_option, quiet_option
from securefl_cli.rendering.progress import announce, watch
from securefl_cli.rendering.screen import console, copyable, print_json

if TYPE_CHECKING:  # with them comes torch
    from securefl.federation.runs.result import RunResult
    from securefl.federation.services.bootstrap import ConnectionContext


@click.command(
    short_help="Run a training whose members have machines of their own.",
    epilog="""\b
    Examples:
      securefl coordinator agreement.toml --key hub.key --facts agreed.facts
      securefl coordinator agreement.toml --key hub.key --facts agreed.facts \\
          --embedded nats
      securefl coordinator a.toml --key hub.key --facts facts --out r --schedule
    """,
)
@connection_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("securefl-run"),
    show_default=True,
    metavar="DIR",
    help="The run's directory; a run that was begun there is resumed.",
)
@schedule_option("Run the agreed schedule: run 1 in DIR/1, and each later one when it is due.")
@click.option(
    "--embedded",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also start the broker, from the nats-server.conf in DIR: for trials.",
)
@seconds_option(
    "--step-deadline",
    60.0,
    "For an answer that needs no training.",
)
@seconds_option(
    "--training-deadline",
    3600.0,
    "For an answer that does.",
)
@seconds_option(
    "--silence",
    30.0,
    "A round goes on without a member that was silent for so long, if enough are left.",
)
@seconds_option(
    "--stragglers",
    60.0,
    "Least time for the other members once enough have answered.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Serve metrics for Prometheus on this port of this machine.",
)
@page_option
@log_options
@format_option
@quiet_option
def coordinator(
    *,
    agreement: Path,
    key: Path,
    facts: Path,
    passphrase_file: Path | None,
    run_name: str,
    out: Path,
    schedule: bool,
    embedded: Path | None,
    step_deadline: float,
    training_deadline: float,
    silence: float,
    stragglers: float,
    metrics_port: int | None,
    page: int | None,
    log: Path | None,
    log_size: int,
    log_files: int,
    format: str,  # noqa: A002 - named after the option
    quiet: bool,
) -> None:
    """Relay, sum and publish for the members of AGREEMENT.

    Start it again after a crash: it resumes in the middle of the round. It writes a log to stderr
    or to --log, one JSON object a line.
    """
    from securefl.federation.services.bootstrap import connection_context
    from securefl.federation.services.coordinator import coordinate
    from securefl.federation.services.prometheus import serve_metrics
    from securefl.federation.services.schedule import coordinated, newest
    from securefl.federation.services.status import read_status
    from securefl.federation.transport.nats.dev_broker import Broker
    from securefl.federation.transport.timeouts import TimeoutPolicy

    begin_log(log, log_size, log_files)
    private = unlocked(key, passphrase_file)

    def enter(run: str) -> ConnectionContext:
        return connection_context(agreement, private, facts, run)

    def status() -> dict[str, Any]:
        return read_status(newest(out) if schedule else out)

    first = enter(run_name)
    timeouts = TimeoutPolicy(
        step=step_deadline, training=training_deadline, silence=silence, least=stragglers
    )
    with ExitStack() as stack:
        if embedded is not None:
            stack.enter_context(Broker(embedded / "nats-server.conf", first.port))
        if metrics_port is not None:
            serve_metrics(metrics_port, status)
        stack.enter_context(show_page(page, status, out))
        try:
            if schedule:
                for result in coordinated(enter, out, timeouts, announce):
                    _conclude(result, format)
                return
            progress = stack.enter_context(watch(quiet=quiet))
            result = coordinate(first, out, timeouts, progress)
        except KeyboardInterrupt:
            raise Interrupted("interrupted; go on with the same command") from None
    _conclude(result, format)


def _conclude(result: RunResult, format: str) -> None:  # noqa: A002 - named after the option
    if format == "json":
        print_json(result.to_json())
        return
    place = result.run_dir
    out = console()
    out.whole(f"Done: {result.rounds} rounds, the best was {result.best_round}; see {place}")
    copyable(out, "Next", f"securefl audit export {place} --out BUNDLE.json")
