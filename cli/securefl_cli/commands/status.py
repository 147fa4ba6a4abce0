"""`securefl status`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from securefl_cli.options.run import format_option
from securefl_cli.rendering.grid import Column, Table
from securefl_cli.rendering.screen import console, labelled, print_json


@click.command(
    short_help="Show what a coordinator or a member does, and which members are there.",
    epilog="""\b
    Examples:
      securefl status securefl-run
      securefl status securefl-run --format json
      securefl status /var/lib/securefl/state
    """,
)
@click.argument("run", type=click.Path(path_type=Path), metavar="DIR")
@format_option
def status(*, run: Path, format: str) -> None:  # noqa: A002 - named after the option
    """Show the run in DIR.

    In a coordinator's run directory: members, step, age of the last message, bytes, round and
    epsilon. In a member's state folder: round, step, what it waits for, the last sum that it
    verified, epsilon, and where its model is.
    """
    from securefl.federation.services.member_status import read_member_status
    from securefl.federation.services.status import has_status, read_status

    coordinator = has_status(run)
    tree = read_status(run) if coordinator else read_member_status(run)
    if format == "json":
        print_json(tree)
    elif coordinator:
        _print(tree)
    else:
        _print_member(tree)


def _print_member(tree: dict[str, Any]) -> None:
    from securefl.federation.services.status import clock

    out, waits = console(), tree["step"] == "waiting" and tree["state"] == "taking part"
    state = f"{tree['state']}, round {tree['round']} of {tree['rounds']}"
    labelled(out, "Run", f"{tree['run']} under the agreement '{tree['agreement']}'")
    labelled(out, "Member", tree["member"])
    there = tree["connected"] or tree["state"] != "taking part"
    labelled(out, "State", state + ("" if there else "; no connection to the broker"))
    if tree["reason"]:
        labelled(out, "Stopped", tree["reason"])
    if tree["state"] == "taking part":
        step = "for the coordinator's next request" if waits else tree["step"]
        labelled(out, "Waits" if waits else "Does", f"{step}, for {clock(tree['since'])}")
    labelled(out, "Asked", "never" if tree["asked"] is None else f"{clock(tree['asked'])} ago")
    labelled(
        out, "Verified", f"the sum of round {tree['verified']}" if tree["verified"] else "none"
    )
    if tree["epsilon"] is not None:
        labelled(out, "Epsilon", f"{tree['epsilon']:.2f}, over the life of the data")
    if tree["model"]:
        labelled(out, "Model", tree["model"])
    labelled(out, "Seen", f"{clock(tree['written'])} ago")


def _print(tree: dict[str, Any]) -> None:
    from securefl.federation.services.status import clock

    out = console()
    state = f"{tree['state']}, round {tree['round']} of {tree['rounds']}"
    labelled(out, "Run", f"{tree['run']} under the agreement '{tree['agreement']}'")
    labelled(out, "State", state + ("" if tree["connected"] else "; no connection to the broker"))
    if tree["trouble"]:
        labelled(out, "Trouble", tree["trouble"])
    if tree["unusual"]:
        labelled(out, "Last sum", f"out of the ordinary: {tree['unusual']}")
    if tree["epsilon"] is not None:
        labelled(out, "Epsilon", f"{tree['epsilon']:.2f}, of the member that spent most")
    for member in tree["members"]:
        if member["left_out"]:
            labelled(out, "Left out", f"{member['name']} of the last sum: it {member['left_out']}")
        if member["unusable"]:
            labelled(out, "Unusable", f"an answer of {member['name']}: {member['unusable']}")
    labelled(out, "Seen", f"{clock(tree['written'])} ago")
    rows = []
    for member in tree["members"]:
        at = "away" if member["away"] else member["at"] or "not seen yet"
        sizes = (f"{member[way] / 1e6:.1f}" for way in ("bytes_up", "bytes_down"))
        rows.append((member["name"], at, member["asked"], clock(member["heard"]), *sizes))
    names = ("member", "is at", "was asked", "heard of", "MB up", "MB down")
    out.table(Table([Column(name, right=name.startswith("MB")) for name in names], rows))
