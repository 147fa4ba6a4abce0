"""A schedule of faults, played on the parties in virtual time; what it took, round by round."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from securefl.consortium.ledger.round_records import StaleStateError
from securefl.errors import RunDirectoryError
from support.faults.measures import descriptors, resident, stored
from support.faults.schedule import BROKER, HUB, Fault
from support.faults.virtual.broker import Line
from support.faults.virtual.coordinator import StuckError, VirtualCoordinator
from support.faults.virtual.member import VirtualMember
from support.faults.virtual.scene import VirtualScene, virtual_scene
from support.faults.virtual.world import KilledError

LONGEST_ROUND = 1800.0
"""Virtual seconds after which a round counts as stuck; after 3,600 an answer is given up."""


@dataclass(frozen=True)
class PlayedRound:
    """What one round took.

    Attributes:
        number: The round.
        survivors: Whose inputs are in its sum, which was compared with theirs.
        seconds: Virtual seconds from its beginning to the next one's.
        sizes: Bytes on disk of coordinator, journals and ledgers, and waiting on the broker;
            memory and descriptors of the process that plays all parties.
    """

    number: int
    survivors: tuple[str, ...]
    seconds: float
    sizes: dict[str, float]


@dataclass
class Played:
    """A schedule that was played to its end.

    Attributes:
        rounds: Its rounds.
        happened: How often each fault really happened, for example not to one that was down.
        restarts: Restarts of the coordinator.
    """

    rounds: list[PlayedRound] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    restarts: int = 0


class Play:
    """The playing of a schedule.

    Args:
        folder: For all files.
        faults: The schedule.
        rounds: How many rounds.
        members: How many members.
        dimension: d of the rehearsed updates.
        seed: Decides all that the schedule leaves to chance.
    """

    def __init__(
        self,
        folder: Path,
        faults: Sequence[Fault],
        *,
        rounds: int,
        members: int = 5,
        dimension: int = 50,
        seed: int = 0,
    ) -> None:
        self.scene: VirtualScene = virtual_scene(folder, seed, members, rounds)
        self.scene.ended = self._ended
        self.hub = VirtualCoordinator(self.scene, dimension)
        self.played, self._total = Played(), rounds
        self._faults, self._begun, self._at = list(faults), 0, 0.0
        self._copies = count(1)
        self._processes = {
            name: [VirtualMember(self.scene, name, folder / name)] for name in self.scene.names
        }

    def run(self) -> Played:
        """Play all rounds.

        Raises:
            WrongSumError: If a sum is not that of its survivors' inputs.
            StuckError: If a round does not end.
        """
        world = self.scene.world
        with world.ruling():
            try:
                for (member,) in self._processes.values():
                    member.start()
                while len(self.hub.done) < self._total:
                    self._live()
                self._ended_round()
            finally:
                for process in self._all():
                    process.die()
        return self.played

    def _live(self) -> None:
        """One life of the coordinator; a full disk ends it like a kill."""
        try:
            self.hub.run(self._total, self._begin)
        except (KilledError, RunDirectoryError, sqlite3.OperationalError):
            self.played.restarts += 1
            self.scene.world.advance(self.scene.downtime())

    def _all(self) -> list[VirtualMember]:
        return [one for several in self._processes.values() for one in several if one.alive]

    def _begin(self, number: int) -> None:
        if number <= self._begun:
            return
        if self._begun:
            self._ended_round()
        world = self.scene.world
        self._begun, self._at = number, world.now
        world.after(LONGEST_ROUND, lambda: self._check_ended(number))
        for fault in self._faults:
            if fault.round == number:
                world.after(fault.after, lambda fault=fault: self._happen(fault))  # type: ignore[misc]

    def _check_ended(self, number: int) -> None:
        if len(self.hub.done) < number:
            raise StuckError(f"round {number} has not ended after {LONGEST_ROUND:g} s")

    def _ended_round(self) -> None:
        number, scene = self._begun, self.scene
        sizes = {
            "coordinator": stored(self.hub.place),
            "journals": sum(stored(scene.folder / name) for name in scene.names),
            "ledgers": stored(scene.books),
            "broker": scene.broker.waiting(),
            "memory": resident(os.getpid()),
            "descriptors": descriptors(os.getpid()),
        }
        seconds = scene.world.now - self._at
        survivors = self.hub.done[number - 1]
        self.played.rounds.append(PlayedRound(number, survivors, seconds, sizes))

    def _happen(self, fault: Fault) -> None:
        if fault.party == HUB:
            self._to_hub(fault)
        elif fault.party == BROKER:
            self.scene.broker.down = self.scene.world.now + fault.seconds
        else:
            living = [one for one in self._processes[fault.party] if one.alive]
            if not living:
                return
            self._to_member(fault, living[0])
        self.played.happened[f"{fault.kind} of {fault.party.split('-')[0]}"] += 1

    def _to_hub(self, fault: Fault) -> None:
        world, doom = self.scene.world, self.hub.doom
        if fault.kind == "kill":
            doom.left = fault.steps
        elif fault.kind == "freeze":
            world.advance(fault.seconds)  # everything goes on but the coordinator, which waits here
        elif fault.kind == "full-disk":
            doom.full = True
            world.after(fault.seconds, lambda: setattr(doom, "full", False))
        else:
            self._jump(fault)

    def _to_member(self, fault: Fault, member: VirtualMember) -> None:
        world = self.scene.world
        if fault.kind == "kill":
            member.doom.left = fault.steps
        elif fault.kind == "freeze":
            member.frozen = world.now + fault.seconds
        elif fault.kind == "full-disk":
            doom = member.doom
            doom.full = True
            world.after(fault.seconds, lambda: setattr(doom, "full", False))
        elif fault.kind == "cut":
            member.line.cut = world.now + fault.seconds
        elif fault.kind in {"slow", "disorder"}:
            self._worsen(fault, member)
        elif fault.kind == "clock":
            self._jump(fault)
        else:
            self._second(fault, member)

    def _jump(self, fault: Fault) -> None:
        """Set the clock on the wall forth or back, and not back again."""
        self.scene.world.wall += fault.seconds * (1 if fault.steps % 2 else -1)

    def _worsen(self, fault: Fault, member: VirtualMember) -> None:
        """Make a line slow, or one that loses, repeats and mixes up what it carries."""
        line, good = member.line, Line()
        if fault.kind == "slow":
            line.rate = 125_000.0
        else:
            line.delay, line.loss, line.twice = 0.4, 0.15, 0.3

        def mend() -> None:
            line.rate, line.delay, line.loss, line.twice = 0.0, good.delay, 0.0, 0.0

        self.scene.world.after(fault.seconds, mend)

    def _second(self, fault: Fault, member: VirtualMember) -> None:
        """Start a second process of a member."""
        scene, name = self.scene, member.name
        if fault.kind == "same-folder":
            try:
                VirtualMember(scene, name, member.folder).start()
            except RunDirectoryError:
                return
            raise AssertionError("two processes in one folder")
        other = member.copied(scene.folder / f"{name}-copy-{next(self._copies)}")
        try:
            other.start()
        except StaleStateError:
            return  # the copy of a folder that is an old one itself
        self._processes[name].append(other)
        scene.world.after(fault.seconds, lambda: self._stop_second(name, other))

    def _stop_second(self, name: str, other: VirtualMember) -> None:
        """Stop the second process of a member, unless it is the only one that its ledger takes."""
        living = [one for one in self._processes[name] if one.alive]
        if len(living) > 1 and other in living:
            other.die()
            self._processes[name].remove(other)

    def _ended(self, member: VirtualMember) -> None:
        """Start a member again that ended because its ledger refused its state."""
        processes = self._processes[member.name]
        if len(processes) > 1:
            processes.remove(member)
        else:
            self.scene.world.after(self.scene.downtime(), member.restart)
