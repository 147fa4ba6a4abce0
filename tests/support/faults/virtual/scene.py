"""What all parties of a consortium in virtual time share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from securefl.config.load import load_config, merge
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.agreement.model import new_agreement
from securefl.consortium.agreement.signatures import signed_by
from securefl.consortium.keys.key_files import generate_key
from securefl.consortium.keys.parties import party_of
from securefl.federation.transport.journalled import Run
from securefl.federation.transport.nats.connection import Part
from securefl.federation.transport.nats.subjects import Layout
from securefl_protocols.primitives.signing import SigningKey
from support.faults.virtual.broker import VirtualBroker
from support.faults.virtual.world import World

if TYPE_CHECKING:
    from support.faults.virtual.links import VirtualLink
    from support.faults.virtual.member import VirtualMember

_TERMS = {"data": {"source": "tutorial"}, "secure": {"bits": 64}}


@dataclass
class VirtualScene:
    """A consortium, its world and its broker.

    Attributes:
        folder: Has all files.
        world: The clock.
        broker: The broker.
        consortium: Who takes part.
        keys: Private identity keys, 32 bytes, by member.
        run: The run, as the engine sees it.
        identity: The coordinator's private key.
        hub: The coordinator's connection; None while it is not there.
        ended: What is done about a member's process that ended by itself.
    """

    folder: Path
    world: World
    broker: VirtualBroker
    consortium: Consortium
    keys: dict[str, bytes]
    run: Run
    identity: bytes = field(repr=False)
    hub: VirtualLink | None = None
    ended: Callable[[VirtualMember], None] = lambda member: None

    @property
    def names(self) -> tuple[str, ...]:
        """All members."""
        return self.consortium.roster.names

    @property
    def books(self) -> Path:
        """The folder of the members' ledgers."""
        return self.folder / "books"

    def downtime(self) -> float:
        """Return for how many seconds a killed process is not there."""
        return self.world.draw.uniform(0.2, 40.0)

    def heard(self, name: str, part: Part) -> None:
        """Deliver a heartbeat, if the coordinator is there; none is stored."""
        subject = self.run.layout.beat(name)
        if self.hub is not None and self.hub.connected and subject in self.hub.beats:
            self.hub.beats[subject](part)


def virtual_scene(folder: Path, seed: int, members: int, rounds: int) -> VirtualScene:
    """Return a consortium in which nothing has happened yet."""
    names = [f"member-{number}" for number in range(members)]
    keys = {name: generate_key() for name in names}
    now = datetime.now(UTC)
    agreement = new_agreement(
        "stage",
        tuple(party_of(name, key) for name, key in keys.items()),
        load_config(None, merge(_TERMS, {"rounds": max(rounds, 3)})),
        created=now,
        expires=now + timedelta(days=1),
    )
    coordinator, run_id = generate_key(), bytes(32)
    world = World(seed)
    return VirtualScene(
        folder,
        world,
        VirtualBroker(world),
        Consortium(signed_by(agreement, keys), run_id),
        {name: key.private_bytes() for name, key in keys.items()},
        Run(
            run_id,
            Layout("stage"),
            {name: key.public for name, key in keys.items()},
            SigningKey(coordinator.private_bytes()).public,
        ),
        coordinator.private_bytes(),
    )
