"""A schedule of faults, played on real processes; what it took, round by round."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from support.faults.live.stage import LiveStage
from support.faults.schedule import BROKER, HUB, Fault

LONGEST_ROUND = 300.0
"""Seconds after which a round counts as stuck."""


@dataclass
class PlayedLive:
    """A schedule that was played to its end.

    Attributes:
        seconds: Of each round, from the end of the one before.
        survivors: Of each round, how many.
        sizes: `(round, values)`; see `LiveStage.sizes`.
        happened: How often each fault happened.
    """

    seconds: list[float] = field(default_factory=list)
    survivors: list[int] = field(default_factory=list)
    sizes: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)


class LivePlay:
    """The playing of a schedule.

    Args:
        stage: The consortium; this starts it.
        faults: The schedule.
        seed: Decides what the schedule leaves to chance.
    """

    def __init__(self, stage: LiveStage, faults: Sequence[Fault], seed: int = 0) -> None:
        self.stage, self.played = stage, PlayedLive()
        self._faults, self._draw = list(faults), random.Random(seed)
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._copies = count(1)
        self._planned: set[str] = set()

    def run(self) -> PlayedLive:
        """Play all rounds.

        Raises:
            AssertionError: If a sum is wrong, or a round does not end; with what the parties said.
        """
        try:
            return self._run()
        except Exception as error:
            # Else nothing says which of all that goes wrong here ended the play.
            raise AssertionError(self.stage.keep_end(error)) from error

    def _run(self) -> PlayedLive:
        stage = self.stage
        stage.start_all()
        done, since = 0, time.monotonic()
        self._begin(1)
        while done < stage.rounds:
            self._pass()
            if stage.done() > done:
                now = time.monotonic()
                self.played.seconds.append(now - since)
                done, since = done + 1, now
                self.played.survivors += stage.check_sums()
                self.played.sizes.append((done, stage.sizes()))
                self._begin(done + 1)
            elif time.monotonic() - since > LONGEST_ROUND:
                raise AssertionError(f"round {done + 1} does not end: {stage.tail('hub')}")
        self._settle()
        return self.played

    def _pass(self) -> None:
        """Do what is due, and start again whoever ended."""
        time.sleep(0.02)
        now = time.monotonic()
        for moment, call in [one for one in self._due if one[0] <= now]:
            self._due.remove((moment, call))
            call()
        for party in (*self.stage.village.names, HUB):
            ended = not self.stage.alive(party)
            if ended and self.stage.done() < self.stage.rounds and party not in self._planned:
                self._planned.add(party)
                self._later(self._draw.uniform(0.1, 2.0), lambda party=party: self._restart(party))

    def _settle(self) -> None:
        """Undo what is still wrong, so that all parties can come to the end of the run."""
        for _, call in self._due:
            call()
        self._due.clear()
        for party in sorted(self._planned):
            self._restart(party)
        until = time.monotonic() + LONGEST_ROUND
        while self.stage.alive(HUB) and time.monotonic() < until:
            time.sleep(0.05)
        assert self.stage.processes[HUB].exitcode == 0, self.stage.tail("hub")

    def _restart(self, party: str) -> None:
        self._planned.discard(party)
        if not self.stage.alive(party):
            self.stage.set_overtaken_aside(party)
            self.stage.start(party)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._due.append((time.monotonic() + seconds, call))

    def _begin(self, number: int) -> None:
        for fault in self._faults:
            if fault.round == number:
                self._later(fault.after, lambda fault=fault: self._happen(fault))

    def _happen(self, fault: Fault) -> None:
        if fault.party not in {BROKER} and not self.stage.alive(fault.party):
            return
        begin, end = self._of(fault)
        begin()
        if end is not None:
            self._later(fault.seconds, end)
        role = fault.party.split("-", maxsplit=1)[0]
        self.played.happened[f"{fault.kind} of {role}"] += 1

    def _of(self, fault: Fault) -> tuple[Callable[[], None], Callable[[], None] | None]:
        """Return how a fault begins and how it ends."""
        stage, line, party = self.stage, self.stage.line, fault.party
        jump = fault.seconds * (1 if fault.steps % 2 else -1)
        kinds: dict[str, tuple[Callable[[], None], Callable[[], None] | None]] = {
            "kill": (lambda: stage.kill(party), None),
            "freeze": (lambda: stage.freeze(party), lambda: stage.thaw(party)),
            "full-disk": (
                lambda: stage.fill(party, full=True),
                lambda: stage.fill(party, full=False),
            ),
            "cut": (lambda: line.cut(self._draw), None),
            "slow": (lambda: setattr(line, "rate", 125_000.0), lambda: setattr(line, "rate", 0.0)),
            "disorder": (lambda: self._disturb(0.05), lambda: self._disturb(0.0)),
            "clock": (lambda: stage.set_clock(party, jump), None),
            "same-folder": (lambda: self._second(party, copied=False), None),
            "copied-folder": (lambda: self._second(party, copied=True), None),
            "down": (stage.broker.kill, stage.start_broker),
        }
        return kinds[fault.kind]

    def _disturb(self, delay: float) -> None:
        self.stage.line.delay = delay
        self.stage.line.cut(self._draw)

    def _second(self, party: str, *, copied: bool) -> None:
        """Start a second process of a member; it has to end by itself, and the first goes on."""
        folder = self.stage.copy_state(party, next(self._copies)) if copied else None
        self.stage.start_second(party, folder)
