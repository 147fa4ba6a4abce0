"""`securefl-verifier`: what an auditor installs, with the code of `securefl audit` and no more.

It parses with the standard library: an auditor reads and installs every package that it needs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from securefl._version import __version__
from securefl.audit.bundle.inputs import moment, pinned_agreement, read_bundle
from securefl.audit.bundle.time_limit import deadline
from securefl.audit.bundle.witnesses import witnessed
from securefl.audit.explain import explain
from securefl.audit.verify import verify_file
from securefl.consortium.ledger.checkpoint import LARGEST_NOTE, Verifier, read_note
from securefl.errors import SecureflError
from securefl.untrusted.files import read_text
from securefl.untrusted.text import one_line
from securefl_cli.rendering.audit import print_audit, print_explanation
from securefl_cli.rendering.screen import Screen, open_closed_streams, print_json
from securefl_cli.rendering.witness import print_witnessed

_TIME_LIMIT = 600.0
_NO_READER = 141
_INTERRUPTED = 130
_INTERNAL_ERROR = 70


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verifier.

    Args:
        arguments: The arguments after the program's name; those of the process if not given.

    Returns:
        The exit code, as of `securefl audit verify`.
    """
    open_closed_streams()
    try:
        return _run(_parser().parse_args(arguments))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NO_READER
    except KeyboardInterrupt:
        return _refused("interrupted", _INTERRUPTED)
    except SecureflError as error:
        return _refused(str(error), error.exit_code)
    except Exception as error:
        return _refused(f"unexpected {type(error).__name__}; please report it", _INTERNAL_ERROR)


def _run(given: argparse.Namespace) -> int:
    if given.command == "explain":
        with deadline(given.time_limit, f"the explanation of {given.bundle}"):
            story = explain(read_bundle(given.bundle))
        if given.format == "json":
            print_json(story.to_json())
        else:
            print_explanation(story)
        return 0
    if given.command == "witnessed":
        note = read_note(read_text(given.note, LARGEST_NOTE))
        keys = [Verifier.from_text(key) for key in given.witness]
        with deadline(given.time_limit, f"reading {given.bundle}"):
            found = witnessed(read_bundle(given.bundle), note, keys)
        return print_witnessed(found)
    with deadline(given.time_limit, f"the audit of {given.bundle}"):
        audit = verify_file(
            given.bundle,
            agreement=None if given.agreement is None else pinned_agreement(given.agreement),
            others=given.other,
            model=given.model,
            signature=given.signature,
            now=None if given.now is None else moment(given.now),
        )
    if given.format == "json":
        print_json(audit.to_json())
    else:
        print_audit(audit)
    return audit.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="securefl-verifier", description="Check a run's claims without trusting any party."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="Check a bundle, offline; exits with the verdict.")
    story = commands.add_parser("explain", help="Explain a bundle, member by member.")
    seen = commands.add_parser("witnessed", help="Check what witnesses outside have signed.")
    for command in (verify, story, seen):
        command.add_argument("bundle", type=Path, metavar="BUNDLE.json")
    seen.add_argument("--note", type=Path, required=True, metavar="FILE", help="A signed note.")
    seen.add_argument(
        "--witness", required=True, action="append", metavar="VKEY", help="Its key; repeatable."
    )
    for command in (verify, story):
        command.add_argument("--format", choices=("text", "json"), default="text")
    for command in (verify, story, seen):
        command.add_argument("--time-limit", type=float, default=_TIME_LIMIT, metavar="SECONDS")
    verify.add_argument(
        "--agreement", type=Path, metavar="FILE", help="The agreement as a member gave it to you."
    )
    verify.add_argument(
        "--other",
        type=Path,
        action="append",
        default=[],
        metavar="BUNDLE2.json",
        help="Another bundle of this run, or one of another run on the same data; any number.",
    )
    verify.add_argument("--model", type=Path, metavar="FILE", help="The model that you were given.")
    verify.add_argument(
        "--signature", type=Path, metavar="FILE", help="A signature of that model's file."
    )
    verify.add_argument("--now", metavar="TIME", help="Like 2026-01-31T09:00:00Z.")
    return parser


def _refused(line: str, code: int) -> int:
    Screen(err=True).whole(f"securefl-verifier: {one_line(line)}")
    return code
