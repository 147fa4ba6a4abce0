"""A member's process in virtual time: its journal, keys and ledger are real files."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

from securefl.consortium.ledger.round_records import StaleStateError
from securefl.errors import StorageFullError
from securefl.federation.member.journal import MemberJournal
from securefl.federation.runs.folder_lock import locked
from securefl.federation.services.member_presence import BEAT_SECONDS
from securefl.federation.services.member_process import (
    JournalMemory,
    MemberEnd,
    MemberProcess,
    QuestionEntropy,
)
from securefl.federation.transport.journalled import COORDINATOR_NAME
from securefl.federation.transport.nats.chunking import Reassembler
from securefl.federation.transport.nats.consumer import Arrival
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.session_keys import RunKeys
from securefl_protocols.primitives.signing import SigningKey
from support.faults.virtual.broker import Line
from support.faults.virtual.doom import Doom
from support.faults.virtual.links import VirtualLink
from support.faults.virtual.scene import VirtualScene
from support.faults.virtual.world import KilledError, PostponedError
from support.rehearsal import RehearsingMember

_DURABLE = {
    "journal": ("add", "snapshot"),
    "fence": ("advance",),
    "ledger": ("noting",),
    "link": ("send",),
}


class VirtualMember:
    """One process of a member.

    Attributes:
        doom: How long it lives.
        line: Its way to the broker.
        frozen: Until when it does nothing.
        alive: Whether it runs.
        stale: Whether its own ledger refused it, so that it ended.
    """

    def __init__(self, scene: VirtualScene, name: str, folder: Path) -> None:
        self.scene, self.name, self.folder = scene, name, folder
        self.doom, self.line, self.frozen = Doom(), Line(), 0.0
        self.alive = self.stale = False
        self._stack = ExitStack()

    def start(self) -> None:
        """Start from what is in the folder.

        Raises:
            RunDirectoryError: If another process has the folder.
        """
        scene, name = self.scene, self.name
        self._stack = stack = ExitStack()
        with ExitStack() as opening:
            opening.enter_context(locked(self.folder))
            self.doom = Doom()
            identity = scene.keys[name]
            journal = MemberJournal(self.folder, identity, scene.run.id)
            opening.callback(journal.close)
            keys = RunKeys(self.folder, SigningKey(identity), scene.run.id, name)
            opening.callback(keys.close)
            entropy, memory = QuestionEntropy(), JournalMemory(journal)
            inner = RehearsingMember(name, identity, scene.consortium, entropy, scene.books)
            opening.callback(inner.close)
            link = VirtualLink(scene.broker, self.line, scene.run.layout)
            opening.callback(link.close)
            parts = {"journal": journal, "fence": inner.fence, "ledger": inner.ledger, "link": link}
            for part, names in _DURABLE.items():
                self.doom.follow(parts[part], names)
            self.doom.fill(journal, "add", lambda: StorageFullError("the journal"))
            end = MemberEnd(name, keys, scene.run, link, journal, entropy, memory, inner.fence)
            self.process = MemberProcess(end, inner)
            self._stack = stack = opening.pop_all()
        del stack
        self.alive, self.frozen = True, 0.0
        self._read(keys, link)
        self._beat(self._stack)

    def _read(self, keys: RunKeys, link: VirtualLink) -> None:
        scene, process = self.scene, self.process
        if process._last is not None:
            process._send(process._last)
        coordinator = Reassembler(keys, COORDINATOR_NAME, scene.run.coordinator)
        subject = scene.run.layout.to_member(self.name)
        link.read_subject(subject, coordinator, Quota(COORDINATOR_NAME, most=None), self._serve)

    def _serve(self, arrival: Arrival) -> None:
        """Handle a message, unless frozen: then later, as it waits in a socket."""
        world = self.scene.world
        if world.now < self.frozen:
            world.after(self.frozen - world.now, lambda: self._serve_later(arrival))
            return
        if world.at_work:
            raise AssertionError("one thing at a time")
        world.at_work = True
        try:
            self.process._serve(arrival)
        except PostponedError as error:
            world.after(error.seconds, lambda: self._serve_later(arrival))
        except KilledError:
            self.die()
            world.after(self.scene.downtime(), self.restart)
        except StaleStateError:
            self.stale = True
            self.die()
            self.scene.ended(self)
        finally:
            world.at_work = False

    def _serve_later(self, arrival: Arrival) -> None:
        if self.alive:
            self._serve(arrival)

    def _beat(self, life: ExitStack) -> None:
        """Send a heartbeat every few seconds, for this life of the process alone."""
        world, scene = self.scene.world, self.scene
        if not self.alive or life is not self._stack:
            return
        if world.now >= self.frozen and scene.broker.reachable(self.line):
            part = self.process._presence.said()
            scene.heard(self.name, part)
        every = BEAT_SECONDS if self.process._end.keys.of(COORDINATOR_NAME) else 0.25
        world.after(every, lambda: self._beat(life))

    def die(self) -> None:
        """End without a word, as a killed process does."""
        self.alive = False
        self._stack.close()

    def restart(self) -> None:
        """Start again after a kill; where its state is refused, without it, as its error says."""
        if self.alive:
            return
        try:
            self.start()
        except StaleStateError:
            shutil.rmtree(self.folder)
            self.start()

    def copied(self, folder: Path) -> VirtualMember:
        """Return another process of this member, from a copy of its folder."""
        shutil.copytree(self.folder, folder)
        return VirtualMember(self.scene, self.name, folder)
