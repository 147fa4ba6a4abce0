"""The console entry: run a command, and turn an error into one line and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Sequence
from types import FrameType

import click

from securefl._version import __version__
from securefl.untrusted.text import one_line
from securefl_cli.group import Interrupted, LazyGroup
from securefl_cli.options.passphrase import out_of_environment
from securefl_cli.rendering.screen import Screen, open_closed_streams, print_lines

INTERNAL_ERROR = 70
"""EX_SOFTWARE of sysexits.h."""
NO_READER = 141
"""128 + SIGPIPE, as of other programs in a pipe; 1 would say that something failed."""
DEBUG = "SECUREFL_DEBUG"
_ENDS = ("SIGTERM", "SIGHUP")
_received: list[int] = []

_COMMANDS = {
    "demo": (
        "securefl_cli.commands.demo:demo",
        "Show what a federation gains, protects and leaves behind.",
    ),
    "run": (
        "securefl_cli.commands.run:run",
        "Train over all retailers and compare with training alone.",
    ),
    "predict": (
        "securefl_cli.commands.predict:predict",
        "Use a retailer's model: lists, forecasts, probabilities, prices.",
    ),
    "export": (
        "securefl_cli.commands.model:export",
        "Write a retailer's model for other programs.",
    ),
    "serve": ("securefl_cli.commands.model:serve", "Answer programs here with a retailer's model."),
    "compare": (
        "securefl_cli.commands.compare:compare",
        "Compare masked training with plain training.",
    ),
    "budget": (
        "securefl_cli.commands.budget:budget",
        "Look at a privacy budget before it is spent.",
    ),
    "audit": (
        "securefl_cli.commands.audit.main:audit",
        "Check a run's claims without trusting any party.",
    ),
    "report": ("securefl_cli.commands.report:report", "Write a finished run as one HTML page."),
    "dossier": (
        "securefl_cli.commands.dossier:dossier",
        "Write what lawyers need of a finished run.",
    ),
    "analytics": (
        "securefl_cli.commands.analytics:analytics",
        "Statistics over all retailers' customers.",
    ),
    "data": ("securefl_cli.commands.data:data", "Look at the data of a run before training."),
    "keygen": ("securefl_cli.commands.keygen:keygen", "Make the key of a member or a coordinator."),
    "agreement": (
        "securefl_cli.commands.agreement.main:agreement",
        "What members agree on, sign and amend.",
    ),
    "facts": ("securefl_cli.commands.facts:facts", "Write what members of a network agree on."),
    "coordinator": (
        "securefl_cli.commands.coordinator:coordinator",
        "Run a training over a network.",
    ),
    "member": ("securefl_cli.commands.member:member", "Take part from a machine of your own."),
    "status": (
        "securefl_cli.commands.status:status",
        "Show what a coordinator does, and which members are there.",
    ),
    "readmit": (
        "securefl_cli.commands.status:readmit",
        "Have a coordinator hear a member again that it cut off.",
    ),
    "doctor": ("securefl_cli.commands.doctor:doctor", "Check what keeps you from taking part."),
    "config": ("securefl_cli.commands.config:config", "Show or start a configuration file."),
}


@click.group(
    cls=LazyGroup,
    commands_from=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def securefl() -> None:
    """Train one model with competing retailers; no party sees another's data.

    Start with: securefl demo
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments after the program's name; those of the process if not given.

    Returns:
        The exit code: 0, 1 (failed), 2 (wrong input), 3 (doubtful or incomplete), 70 (a bug), 130,
        143 or 129 (interrupted by SIGINT, SIGTERM or SIGHUP) or 141 (the reader of the output is
        gone).
    """
    open_closed_streams()
    streams = sys.stdout, sys.stderr
    stop_on_signals()
    try:
        with out_of_environment():
            outcome = securefl.main(arguments, prog_name="securefl", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as ended:
        if not ended.code:  # a shell has asked for what may come next
            return 0
        # Else click exits for one reason alone, a broken pipe, and with 1: "a check failed".
        sys.stdout, sys.stderr = streams
        return _close_quietly()
    except Exception as error:
        return _report(error)
    # --help and --version end with click's own code; a command returns nothing.
    return outcome if isinstance(outcome, int) else 0


def stop_on_signals() -> None:
    """Have SIGTERM and SIGHUP interrupt the command.

    A process that is the first of a container would ignore them otherwise, and elsewhere its
    workers would outlive it. One that is ignored already stays so, as `nohup` wants it.
    """
    for name in _ENDS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    del frame
    _received.append(number)
    raise KeyboardInterrupt


def _interrupted() -> int:
    """Return 128 and the number of the signal that stopped the command, as shells count."""
    return 128 + (_received[0] if _received else int(signal.SIGINT))


def _report(error: Exception) -> int:
    if isinstance(error, BrokenPipeError):
        return _close_quietly()
    line, code = _explain(error)
    Screen(err=True).whole(f"securefl: {line}")
    return code


def _explain(error: Exception) -> tuple[str, int]:
    """Return the line and the exit code for an error."""
    from securefl.errors import SecureflError

    error = _named(error)
    match error:
        case SecureflError():
            return one_line(str(error)), error.exit_code
        case Interrupted() | click.Abort():
            return str(error) or "interrupted", _interrupted()
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "securefl"
            return f"{one_line(error.format_message())} (see: {path} --help)", error.exit_code
        case click.ClickException():
            return one_line(error.format_message()), error.exit_code
        case OSError() if error.filename or error.errno == errno.ENOSPC:
            place = os.fsdecode(error.filename or "the output")
            return f"{place}: {error.strerror}", 2
        case _:
            return _unexpected(error), INTERNAL_ERROR


def _named(error: Exception) -> Exception:
    """Return the error; one of a missing package or of a disk as the one that says what to do."""
    from securefl.errors import EXTRAS, disk_error, needs_extra

    if isinstance(error, sqlite3.Error):
        return disk_error("a database", error)  # of which SQLite does not say the name
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and package in EXTRAS:
        return needs_extra(package, "this command")
    return error


def _unexpected(error: Exception) -> str:
    """Return the line of a bug; its traceback goes to a file, or to the screen if requested."""
    trace = "".join(traceback.format_exception(error))
    if os.environ.get(DEBUG):
        print_lines(trace)
        return f"unexpected {type(error).__name__}; please report it"
    with tempfile.NamedTemporaryFile(
        "w", prefix="securefl-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(trace)
    return f"unexpected {type(error).__name__}; please report it with {file.name}"


def _close_quietly() -> int:
    """Discard further output: its reader is gone, and the flush at exit would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return NO_READER
