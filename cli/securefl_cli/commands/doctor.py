"""`securefl doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from securefl_cli.options.network import (
    connection_options,
    own_data_option,
    own_policy_option,
    state_option,
)
from securefl_cli.options.passphrase import unlocked
from securefl_cli.options.run import format_option
from securefl_cli.rendering.reading import say_no_log
from securefl_cli.rendering.screen import console, copyable, print_json


@click.command(
    short_help="Check what keeps you from taking part, and how to fix it.",
    epilog="""\b
    Examples:
      securefl doctor agreement.toml --key north.key --facts agreed.facts \\
          --data tables
    """,
)
@connection_options
@own_data_option
@state_option
@own_policy_option
@format_option
def doctor(
    *,
    agreement: Path,
    key: Path,
    facts: Path,
    passphrase_file: Path | None,
    run_name: str,
    data: Path | None,
    state: Path,
    policy: Path | None,
    format: str,  # noqa: A002 - named after the option
) -> None:
    """Check clock, agreement, policy, disk, key, data, certificate and connection.

    Exit code 0 if all checks pass, 1 if something has to be fixed.
    """
    from securefl.federation.services.diagnostics import PreflightContext, examine

    # What the connection says of itself is in the findings.
    say_no_log()
    private = unlocked(key, passphrase_file)
    party = PreflightContext(agreement, private, facts, run_name, policy, data, state)
    findings = []
    for finding in examine(party):
        findings.append(finding)
        if format == "text":
            console().whole(f"{'ok  ' if finding.fine else 'FAIL'}  {finding.name}: {finding.said}")
            if finding.mend:
                console().whole(f"      how to fix: {finding.mend}")
    if format == "json":
        print_json([asdict(finding) for finding in findings])
    if not all(finding.fine for finding in findings):
        raise click.exceptions.Exit(1)
    if format == "text":
        words = f"{agreement} --key {key} --facts {facts}"
        copyable(console(), "Next", f"securefl member {words} --data DIR")
        copyable(console(), "", f"securefl coordinator {words}  (with its key)")
