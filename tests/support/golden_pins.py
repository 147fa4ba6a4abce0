"""Pin what differs from run to run: the system's entropy, the clock, and the digest of the sources.

`pin()` comes before the first import of securefl in a process: `os.urandom` stands in defaults of
arguments there, which are bound at import. The members have to live in this process (workers = 1).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import Any

MOMENT = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)
CODE_DIGEST = hashlib.sha256(b"golden").hexdigest()
VERSION = "golden"


class Entropy:
    """In the place of `os.urandom`: SHAKE-256 of a name, who asks, and a counter."""

    def __init__(self) -> None:
        self.restart("import")

    def restart(self, name: str) -> None:
        """Begin anew, so that no run depends on what ran before it."""
        self._name, self._drawn = name, Counter[bool]()

    def __call__(self, size: int, /) -> bytes:
        # Other packages draw when they are first imported, which is no part of a run.
        ours = sys._getframe(1).f_globals.get("__name__", "").startswith("securefl")
        self._drawn[ours] += 1
        seed = f"{self._name}/{'securefl' if ours else 'others'}/{self._drawn[ours]}"
        return hashlib.shake_256(seed.encode()).digest(size)


class _Instances(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, type(MOMENT))


class _StoppedClock(dt.datetime, metaclass=_Instances):
    """`datetime.datetime` at one moment; what it returns are ordinary datetimes."""

    __slots__ = ()  # compiled modules compare the size of instances

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
        return MOMENT.astimezone(tz)


class Wire:
    """Notes every message of the federation when its receiver unpacks it."""

    def __init__(self, unpackb: Callable[..., Any]) -> None:
        self._unpackb = unpackb
        self.messages: list[tuple[dict[str, Any], bytes]] = []

    def __call__(self, packed: bytes, *args: Any, **kwargs: Any) -> Any:
        value = self._unpackb(packed, *args, **kwargs)
        if isinstance(value, dict) and "kind" in value:
            self.messages.append((value, bytes(packed)))
        return value

    def taken(self) -> list[tuple[dict[str, Any], bytes]]:
        """What was noted since the last call."""
        messages, self.messages = self.messages, []
        return messages


def pin() -> tuple[Entropy, Wire]:
    """Pin this process, for good; returns the entropy and the tap on the wire."""
    assert "securefl" not in sys.modules, "too late: securefl has been imported"
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    _import_what_knows_datetime()
    entropy = Entropy()
    os.urandom = entropy
    dt.datetime = _StoppedClock  # type: ignore[misc]
    wire = _tapped()
    _without_sources()
    return entropy, wire


def _import_what_knows_datetime() -> None:
    """Other packages keep the clock that they know."""
    for name in ("pandas", "pyarrow", "pydantic", "scipy.stats", "opacus"):
        import_module(name)
    import torch

    torch.set_num_threads(1)


def _tapped() -> Wire:
    import msgpack

    wire = Wire(msgpack.unpackb)
    msgpack.unpackb = wire
    return wire


def _without_sources() -> None:
    """A constant for the version, and for `code_digest` in whatever module it is found.

    It covers the paths and texts of all source files, so every change of the code changes it.
    """
    import securefl._version

    securefl._version.__version__ = VERSION
    import_module("securefl.api")
    homes = [m for n, m in sys.modules.items() if n.startswith("securefl") and _own_digest(m)]
    assert homes, "code_digest is not where it was: nothing has been pinned"
    for module in homes:
        vars(module)["code_digest"] = lambda: CODE_DIGEST


def _own_digest(module: Any) -> bool:
    return callable(vars(module).get("code_digest"))
