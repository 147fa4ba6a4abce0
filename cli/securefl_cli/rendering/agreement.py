"""Rendering of agreements; no decision is made here."""

from __future__ import annotations

from typing import Any

from securefl.config.privacy import protects
from securefl.config.schema import RunConfig
from securefl.consortium.agreement.model import Agreement
from securefl.consortium.agreement.workflow import Status
from securefl_cli.rendering.disclosures import print_disclosed
from securefl_cli.rendering.grid import Column, Table
from securefl_cli.rendering.screen import Screen, console, copyable, labelled


def print_agreement(status: Status, path: str) -> None:
    """Print an agreement and its signatures."""
    out, agreement = console(), status.agreement
    out.line(f"{agreement.name}, version {agreement.number}", "bold")
    out.line()
    _print_members(out, status)
    out.line()
    copyable(out, "Fingerprint", f"{status.fingerprint}  (of the agreement)")
    labelled(out, "Valid", f"{agreement.created} to {agreement.expires}")
    labelled(out, "Quorum", f"{agreement.quorum} of {len(agreement.members)} members sign")
    labelled(out, "Training", training(agreement.config))
    labelled(out, "Customers", protection(agreement.config))
    print_disclosed(out, agreement.config)
    labelled(out, "Round", smallest_round(agreement))
    if agreement.config.mode == "secure":
        labelled(out, "Lanes", lanes(agreement))
    if agreement.coordinator is not None:
        named = agreement.coordinator
        copyable(out, "Coordinator", f"{named.name}  {named.fingerprint}")
    if agreement.broker is not None:
        copyable(out, "Broker", agreement.broker.url)
    print_standing(out, status, path)


def print_standing(out: Screen, status: Status, path: str) -> None:
    """Print whether an agreement is in force, and what to do next."""
    for text in status.waiting:
        labelled(out, "Waiting", text)
    labelled(out, "In force", f"no: {status.problem}" if status.problem else "yes")
    copyable(out, "Next", next_step(status, path))


def next_step(status: Status, path: str) -> str:
    """Return the next command."""
    missing = [member.name for member in status.members if member.name not in status.signed]
    if "expired" in status.problem:
        return f"securefl agreement amend {path} --days 365"
    if missing:
        return f"securefl agreement sign {path} --key {missing[0]}.key"
    if status.agreement.broker is not None:
        return f"securefl agreement broker-config {path} --tls DIR"
    return f"securefl agreement verify {path} --policy POLICY.toml"


def training(config: RunConfig) -> str:
    """Return a line about the training."""
    model = config.model.name
    return (
        f"{config.task} ({model}), {config.rounds} rounds, mode {config.mode}, seed {config.seed}"
    )


def protection(config: RunConfig) -> str:
    """Return a line about the protection of customers."""
    privacy = config.privacy
    if not protects(privacy.dp):
        return "not protected by any noise (no differential privacy)"
    return (
        f"dp {privacy.dp}, epsilon {privacy.epsilon:g}, delta {privacy.delta:g} a {privacy.unit}"
        " for the whole run"
    )


def smallest_round(agreement: Agreement) -> str:
    """Return a line about the number of members that a round needs."""
    demanded = ", ".join(f"{task} {least}" for task, least in agreement.least_members.items())
    return (
        f"at least {agreement.config.cohort.minimum} members; of n in a session,"
        f" {agreement.threshold} open a mask"
        + (f"; demanded by task: {demanded}" if demanded else "")
    )


def lanes(agreement: Agreement) -> str:
    """Return a line about the bits of a masked coordinate, and what they may cost."""
    from securefl.privacy.encoding.lanes import described

    return described(agreement.config, len(agreement.members))


def agreement_json(status: Status) -> dict[str, Any]:
    """Return the JSON values of `--format json`."""
    agreement = status.agreement
    return {
        "name": agreement.name,
        "version": agreement.number,
        "fingerprint": status.fingerprint,
        "created": agreement.created,
        "expires": agreement.expires,
        "quorum": agreement.quorum,
        "members": [
            {
                "name": member.name,
                "identity": member.identity,
                "fingerprint": member.fingerprint,
                "signed": member.name in status.signed,
            }
            for member in status.members
        ],
        "least_members": agreement.least_members,
        "discloses": list(agreement.config.discloses),
        "config": agreement.config.model_dump(mode="json", exclude_unset=True),
        "in_force": not status.problem,
        "problem": status.problem or None,
        "waiting": list(status.waiting),
    }


def _print_members(out: Screen, status: Status) -> None:
    columns = (Column("Member"), Column("Fingerprint", firm=True), Column("Signed", firm=True))
    rows = [
        (member.name, member.fingerprint, "yes" if member.name in status.signed else "no")
        for member in status.members
    ]
    out.table(Table(columns, rows, gap=3))
