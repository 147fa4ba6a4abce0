"""What a party takes of its machine: bytes on disk, memory, open files; and how they grow."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def stored(folder: Path) -> int:
    """Return the bytes of all files below a folder, as their sizes say."""
    found = 0
    for place, _, names in os.walk(folder):  # which passes over folders that are gone meanwhile
        found += sum(size(Path(place) / name) for name in names)
    return found


def stored_by_kind(folder: Path) -> dict[str, int]:
    """Return the bytes below a folder by top-level name; folders with all that is in them."""
    return {
        path.name: stored(path) if path.is_dir() else size(path)
        for path in sorted(folder.iterdir())
    }


def size(path: Path) -> int:
    """Return the bytes of a file, as its size says; 0 of none."""
    with contextlib.suppress(FileNotFoundError):  # compacted meanwhile
        return path.stat().st_size if path.is_file() else 0
    return 0


def resident(pid: int) -> int:
    """Return the resident bytes of a process; 0 once it has ended."""
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def descriptors(pid: int) -> int:
    """Return the number of open files of a process; 0 once it has ended."""
    with contextlib.suppress(OSError):
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return 0


def slope(points: Sequence[tuple[int, float]]) -> float:
    """Return the growth a round, by least squares over `(round, value)`; 0 of fewer than two."""
    if len({number for number, _ in points}) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    over = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return over / sum((x - mean_x) ** 2 for x, _ in points)


def growth(samples: Sequence[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Return the growth a round of each named value, over `(round, values)`."""
    names = sorted({name for _, values in samples for name in values})
    return {
        name: slope([(number, values[name]) for number, values in samples if name in values])
        for name in names
    }
