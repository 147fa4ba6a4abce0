"""The consortium agreement: members, training configuration and privacy settings.

Signatures cover the content of the file as RFC 8785 JSON. A setting that a later version of the
program introduces is not in that content, so an upgrade invalidates no signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from securefl.config.base import Settings
from securefl.config.schema import RunConfig, TaskName
from securefl.consortium.agreement.confusables import confusable, look
from securefl.consortium.encoding.fingerprints import fingerprint
from securefl.consortium.encoding.jcs import (
    Hex32,
    Timestamp,
    canonical_bytes,
    from_timestamp,
    to_timestamp,
)
from securefl.consortium.encoding.parsing import parsed
from securefl.consortium.keys.parties import Party
from securefl.consortium.keys.tls_certificates import checked_certificate
from securefl_protocols.session.graph import default_threshold
from securefl_protocols.wire.context import labelled_digest

AGREEMENT_LABEL = b"securefl/1/agreement"
OWN_AFFAIRS = ("engine", "ledger", "simulation", "references", "warm_start")
"""Sections of a configuration that are local to each machine and not part of the agreement."""
RESERVED = "coordlnator"
"""`confusables.look` of "coordinator", which is the coordinator's name on the broker."""


class Broker(Settings):
    """The message broker that connects members and coordinator.

    Attributes:
        url: `tls://host:port`.
        authority: Certificate (PEM) of the only authority trusted for the broker's certificate.
    """

    url: Annotated[str, Field(pattern=r"^tls://[A-Za-z0-9.\[\]:-]{1,255}:[0-9]{1,5}$")]
    authority: Annotated[str, AfterValidator(checked_certificate)]

    @property
    def port(self) -> int:
        """Return the TCP port of the URL."""
        return int(self.url.rpartition(":")[2])

    @model_validator(mode="after")
    def _real_port(self) -> Self:
        if not 1 <= self.port <= 65535:
            raise ValueError("url: a port is a number from 1 to 65535")
        return self


class Agreement(Settings):
    """Content of the consortium agreement, over which members sign.

    Attributes:
        version: Version of this format.
        name: Name of the agreement.
        number: 1 for the first version, one more with every amendment.
        previous: Digest of the state that an amendment replaces; None for the first version.
        created: Start of validity.
        expires: End of validity, exclusive.
        quorum: Number of members that have to sign; at least floor(2n/3) + 1.
        threshold: Number of shares that reconstruct a mask in a session of n members.
        coordinator: The party that relays and sums, if it runs on a machine of its own.
        broker: The message broker, if the run is distributed over machines.
        members: In roster order, which fixes indices in every session.
        least_members: By task, the fewest members in any round and sum of it. Two companies that
            sum their sales tell each other theirs; competition law asks for more.
        config: Task, model, plan and privacy; no section of `OWN_AFFAIRS`.
    """

    version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
    number: PositiveInt = 1
    previous: Hex32 | None = None
    created: Timestamp
    expires: Timestamp
    quorum: PositiveInt
    threshold: Literal["floor(2n/3) + 1"] = "floor(2n/3) + 1"
    coordinator: Party | None = None
    broker: Broker | None = None
    members: Annotated[tuple[Party, ...], Field(min_length=1)]
    least_members: dict[TaskName, PositiveInt] = Field(default_factory=dict)
    config: RunConfig

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _check_parties([*self.members, *([self.coordinator] if self.coordinator else [])])
        if RESERVED in {look(name) for name in self.names}:
            raise ValueError("members: no member is called 'coordinator'")
        least, count = smallest_quorum(len(self.members)), len(self.members)
        if not least <= self.quorum <= count:
            allowed = f"{least} to {count}" if least < count else str(count)
            raise ValueError(f"quorum: of {count} members, {allowed} have to sign")
        if from_timestamp(self.created) >= from_timestamp(self.expires):
            raise ValueError("expires: comes before created")
        if (self.number == 1) != (self.previous is None):
            raise ValueError("previous: names what an amendment replaces; the first replaces none")
        local = [name for name in OWN_AFFAIRS if name in self.config.model_fields_set]
        if local:
            raise ValueError(f"config.{local[0]}: is each member's own affair and is not agreed")
        if self.least > self.config.cohort.minimum:
            # One number decides at the run, in every session and in the audit: cohort.minimum.
            raise ValueError(
                f"least_members: {self.config.task} needs {self.least} members in every sum, and"
                f" config.cohort.minimum allows {self.config.cohort.minimum}"
            )
        return self

    @property
    def least(self) -> int:
        """Return the fewest members in a sum of its task that it demands; 1 if it demands none."""
        return self.least_members.get(self.config.task, 1)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the members' names in roster order."""
        return tuple(member.name for member in self.members)


def _check_parties(parties: list[Party]) -> None:
    # One key under two names would let one party fill two places of the quorum and of every
    # threshold; the coordinator is checked too, for it must not be a member in disguise.
    for what, values in (
        ("name", [party.name for party in parties]),
        ("identity key", [party.identity for party in parties]),
        ("broker key", [party.broker for party in parties]),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            owners = [p.name for p, value in zip(parties, values, strict=True) if value == twice]
            raise ValueError(f"members: {owners[0]} and {owners[1]} have the same {what}")
    pair = confusable(party.name for party in parties)
    if pair is not None:
        raise ValueError(f"members: '{pair[0]}' and '{pair[1]}' look too much alike")


def smallest_quorum(members: int) -> int:
    """Return floor(2n/3) + 1, so that any two quorums share more than a third of the members."""
    return default_threshold(members) if members > 1 else 1


def new_agreement(
    name: str,
    members: tuple[Party, ...],
    config: RunConfig,
    *,
    created: datetime,
    expires: datetime,
    coordinator: Party | None = None,
    broker: Broker | None = None,
    least_members: Mapping[str, int] | None = None,
) -> Agreement:
    """Return the first version of an agreement, with a quorum of all members.

    Raises:
        AgreementError: If it contradicts itself.
    """
    return from_tree(
        {
            "version": 1,
            "name": name,
            "number": 1,
            "created": to_timestamp(created),
            "expires": to_timestamp(expires),
            "quorum": len(members),
            "threshold": "floor(2n/3) + 1",
            **({} if coordinator is None else {"coordinator": coordinator.model_dump()}),
            **({} if broker is None else {"broker": broker.model_dump()}),
            "members": [member.model_dump() for member in members],
            **({"least_members": dict(least_members)} if least_members else {}),
            "config": agreed_config(config),
        },
        name,
    )


def agreed_config(config: RunConfig) -> dict[str, Any]:
    """Return the agreed part of a configuration as JSON values, with every default filled in.

    Settings that are local to a machine are left out: processes and devices, folders, references,
    and planned dropouts.
    """
    tree = config.model_dump(mode="json", exclude_none=True)
    kept = {name: value for name, value in tree.items() if name not in OWN_AFFAIRS}
    own = {"folder", "cache", "root"}
    kept["data"] = {name: value for name, value in kept["data"].items() if name not in own}
    return kept


def from_tree(tree: Mapping[str, Any], where: str) -> Agreement:
    """Parse an agreement from a TOML or JSON tree.

    Args:
        tree: The tree.
        where: Source of the tree, which error messages begin with.

    Raises:
        AgreementError: If it is not a valid agreement.
    """
    return parsed(Agreement, tree, where)


def to_tree(agreement: Agreement) -> dict[str, Any]:
    """Return the content as it was read, without defaults that the file does not state.

    Signatures cover exactly this: filling in defaults would change the signed bytes whenever a
    version adds a setting.
    """
    return agreement.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def agreement_bytes(agreement: Agreement) -> bytes:
    """Return the RFC 8785 bytes that members sign.

    Raises:
        AgreementError: If a number has no canonical form.
    """
    return canonical_bytes(to_tree(agreement))


def agreement_digest(agreement: Agreement) -> bytes:
    """Return the labelled SHA-256 digest of an agreement, 32 bytes."""
    return labelled_digest(AGREEMENT_LABEL, agreement_bytes(agreement))


def agreement_fingerprint(agreement: Agreement) -> str:
    """Return the shortened digest that members compare by phone before they sign."""
    return fingerprint(agreement_digest(agreement))
