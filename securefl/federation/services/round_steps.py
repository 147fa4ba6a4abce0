"""The steps of the round that is under way: who was asked what, and who is waited for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

from securefl.federation.transport.timeouts import kind_of
from securefl_protocols.wire.kinds import COORDINATOR_MESSAGES

_KEPT: Final = 16
_PAYLOAD: Final = b"payload"
_LENGTH_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}
"""Of a byte string of msgpack, by its first byte."""

_SESSIONS: Final = {"protocol": "", "score-protocol": "scores: "}
"""What is said before the steps of a session, by the message that carries it."""

STEPS: Final = {
    "begin": "agree to begin",
    "train": "train",
    "train-masked": "train, or send keys",
    "KeyList": "share secrets of keys",
    "Shares": "send masked inputs",
    "SurvivorSet": "sign who is left",
    "Signatures": "reveal shares",
    "RoundSum": "verify the sum",
    "ProvenSignatures": "verify norms, reveal shares",
    "ProvenSum": "verify the sum",
    "save": "save the round",
    "restore": "go back to the last round",
    "evaluate": "score the model",
    "release-scores": "enter the sum of scores",
    "conclude": "sign the outcome",
    "show-head": "sign the ledger",
    "finish": "close the ledger",
    "spend": "say what was spent",
    "naive": "score the baseline",
    "deliver": "take the model",
    "keep": "keep the best round",
    "leave": "leave",
}
"""What members do in a step, by the request; of the others the request's own name is shown."""


def step_of(message: bytes) -> str:
    """Return the name of the step that a request belongs to, from its first bytes."""
    kind = kind_of(message)
    if kind not in _SESSIONS:
        return STEPS.get(kind, kind)
    inner = _inner(message)
    return _SESSIONS[kind] + STEPS.get(inner, inner) if inner else kind


def _inner(message: bytes) -> str:
    """Return the kind of the protocol's message inside; empty where it is not readable there."""
    start = message.find(_PAYLOAD, 0, 96)
    if start < 0:
        return ""
    rest = message[start + len(_PAYLOAD) : start + len(_PAYLOAD) + 8]
    place = 1 + _LENGTH_BYTES.get(rest[0], 8) + 1 if rest else len(rest)
    kind = COORDINATOR_MESSAGES.get(rest[place]) if place < len(rest) else None
    return "" if kind is None else kind.__name__


@dataclass
class _Step:
    name: str
    began: float
    ended: float | None = None
    asked: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    gone: dict[str, str] = field(default_factory=dict)

    def waits(self) -> list[str]:
        return sorted(self.asked - self.answered - self.gone.keys())


class RoundSteps:
    """The last steps; not thread-safe."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    def begin(self) -> None:
        """Begin a round, or a try of one."""
        self._steps = []

    def asked(self, party: str, message: bytes) -> None:
        """Note a request; one of another step ends the step before it."""
        name, now = step_of(message), time.time()
        last = self._steps[-1] if self._steps else None
        if last is None or last.name != name or (last.ended is not None and party in last.asked):
            if last is not None and last.ended is None:
                last.ended = now
            last = _Step(name, now)
            self._steps = [*self._steps, last][-_KEPT:]
        last.ended = None
        last.asked.add(party)

    def answered(self, party: str) -> None:
        """Note an answer."""
        if self._steps:
            self._steps[-1].answered.add(party)
            self._close()

    def gone(self, party: str, reason: str) -> None:
        """Note that a member is no longer waited for."""
        if self._steps:
            self._steps[-1].gone[party] = reason
            self._close()

    def _close(self) -> None:
        step = self._steps[-1]
        if step.ended is None and not step.waits():
            step.ended = time.time()

    def facts(self) -> list[dict[str, Any]]:
        """Return the steps as a status file says them."""
        return [
            {
                "step": step.name,
                "began": step.began,
                "ended": step.ended,
                "asked": len(step.asked),
                "answered": len(step.answered & step.asked),
                "waits": step.waits() if step.ended is None else [],
                "gone": dict(step.gone),
            }
            for step in self._steps
        ]
