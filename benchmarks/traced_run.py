"""One simulated private run, traced: which files a masked answer enters, how often it moves.

    python traced_run.py CHECKOUT        with the checkout first on PYTHONPATH; prints JSON

The run: task `recommendation` on the source `tutorial`, model `profile`, mode `secure`, DP
`distributed` (epsilon 3), two rounds, all members in this process, no references. It is asked for
by configuration keys alone, so that the program runs before and after any move of a module.

A *file is entered* when one of its Python functions is called. A *move* is a call whose caller's
file is another one, both files inside the checkout's three packages; a call from a library (numpy,
torch, a dataclass' generated `__init__`) is no move. Imports are not counted: their frames are
modules' and the rest below them is skipped.

A *message is handled* by the outermost call that takes a message as `bytes` and returns a sequence
of `bytes`; the message is known by its `kind` on the wire, and no class or function by its name.

*One masked answer* is all that one member does in one round, from the request `train-masked` to its
last answer in the round's session (`protocol`): the training step, then keys, shares, the masked
input, the shares that unmask the sum, and the sum itself, which it verifies. `until_input` stops
with the masked input, the member's longest answer in the round. Figures are the median over members
in the first round, which opens the session; `later` is the same for the second round, which goes on
under its keys.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low
from types import FrameType
from typing import Any

import msgpack

PACKAGES = ("securefl", "protocols/securefl_protocols", "cli/securefl_cli")
REQUEST, SESSION = "train-masked", "protocol"
OPTIONS: dict[str, Any] = {
    "task": "recommendation",
    "data": "tutorial",
    "model": "profile",
    "mode": "secure",
    "rounds": 2,
    "workers": 1,
    "references": False,
    "privacy": {"dp": "distributed", "epsilon": 3.0},
}


@dataclass
class Trail:
    """What was entered and how often it was moved between files."""

    files: set[str] = field(default_factory=set)
    moves: int = 0

    def __add__(self, other: Trail) -> Trail:
        return Trail(self.files | other.files, self.moves + other.moves)

    def as_json(self) -> dict[str, int]:
        return {"files": len(self.files), "moves": self.moves}


@dataclass
class Handled:
    """One message and its answers, as they were handled."""

    kind: str
    round: int
    party: int
    path: Trail
    longest: int = 0


class Tracer:
    """A profile function for `sys.setprofile`."""

    def __init__(self, root: Path) -> None:
        self._roots = tuple(f"{root / package}{os.sep}" for package in PACKAGES)
        self._known: dict[str, str] = {}
        self._open: list[tuple[FrameType, Handled]] = []
        self.whole = Trail()
        self.handled: list[Handled] = []

    def _ours(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = name if name.startswith(self._roots) else ""
        return self._known[name]

    def __call__(self, frame: FrameType, event: str, value: object) -> None:
        """See `sys.setprofile`."""
        if event == "call":
            self._called(frame)
        elif event == "return" and self._open and self._open[-1][0] is frame:
            self._returned(value)

    def _called(self, frame: FrameType) -> None:
        code = frame.f_code
        file = self._ours(code.co_filename)
        if not file or code.co_name == "<module>":
            return
        if not self._open and (message := _message(frame)) is not None:
            me = id(frame.f_locals.get(code.co_varnames[0]))
            kind, number = str(message["kind"]), int(message.get("round", 0))
            self._open.append((frame, Handled(kind, number, me, Trail())))
        caller = frame.f_back
        origin = self._ours(caller.f_code.co_filename) if caller else ""
        moved = bool(origin) and origin != file
        for path in [self.whole, *(handled.path for _, handled in self._open)]:
            path.files.add(file)
            path.moves += moved

    def _returned(self, value: object) -> None:
        _, handled = self._open.pop()
        if isinstance(value, list | tuple) and value and all(isinstance(v, bytes) for v in value):
            handled.longest = max(map(len, value))
            self.handled.append(handled)


def _message(frame: FrameType) -> dict[str, Any] | None:
    """The message among a call's arguments, as it travels; None without one."""
    code = frame.f_code
    for name in code.co_varnames[: code.co_argcount]:
        value = frame.f_locals.get(name)
        if isinstance(value, bytes) and b"kind" in value[:200]:
            try:
                fields = msgpack.unpackb(value)
            except (ValueError, msgpack.UnpackException):
                continue
            if isinstance(fields, dict) and fields.get("kind") in {REQUEST, SESSION}:
                return fields
    return None


def answers(handled: list[Handled], number: int, *, until_input: bool = False) -> list[Trail]:
    """What each member did in a round."""
    found = []
    for party in dict.fromkeys(h.party for h in handled):
        mine = [h for h in handled if h.party == party and h.round == number]
        if until_input:
            last = max(range(len(mine)), key=lambda i: mine[i].longest)
            mine = mine[: last + 1]
        found.append(sum((h.path for h in mine), Trail()))
    return found


def middle(paths: list[Trail]) -> dict[str, int]:
    """The median over members."""
    files, moves = [len(p.files) for p in paths], [p.moves for p in paths]
    return {"files": median_low(files), "moves": median_low(moves)}


def main() -> None:
    root = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as home:
        os.environ["SECUREFL_HOME"] = home
        import torch

        import securefl

        assert Path(securefl.__file__).is_relative_to(root), securefl.__file__
        torch.set_num_threads(1)
        config, tracer = securefl.configure(**OPTIONS), Tracer(root)
        sys.setprofile(tracer)
        try:
            securefl.run(config, out=Path(home) / "run")
        finally:
            sys.setprofile(None)
    kinds = Counter(h.kind for h in tracer.handled)
    assert kinds[REQUEST], "no member was asked for a masked update"
    figures = {
        "answer": middle(answers(tracer.handled, 1)),
        "until_input": middle(answers(tracer.handled, 1, until_input=True)),
        "later": middle(answers(tracer.handled, 2)),
        "run": tracer.whole.as_json(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
