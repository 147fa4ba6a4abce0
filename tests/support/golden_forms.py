"""What is compared of a run, in two forms: as it is, and without what floating point decides.

Weights differ in their last bits between processors, and with them every digest, signature and
root above them. The second form keeps all the rest: fields, kinds, names, counts, text, and the
digests of what is agreed and drawn.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

_AFTER_WEIGHTS = {
    # digests of weights, and of what holds them
    "model_before", "model_after", "model", "transcript", "previous", "root", "digest",
    "signature", "signatures", "countersignatures", "consistency", "proof", "head", "pooled",
    # numbers that follow from floating point and are none
    "best", "best_round", "variance",
}  # fmt: skip
_TIMINGS = {"seconds"}


def digest(value: Any) -> str:
    """SHA-256 over one JSON form of a value."""
    data = value if isinstance(value, bytes) else form(value).encode()
    return hashlib.sha256(data).hexdigest()


def form(value: Any) -> str:
    """The JSON of a value that is hashed."""
    return json.dumps(value, sort_keys=True, indent=1, default=_bytes)


def _bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"sha256": hashlib.sha256(value).hexdigest(), "bytes": len(value)}
    raise TypeError(type(value))


def without_times(tree: Any) -> Any:
    """A tree without wall times."""
    return pruned(tree, _TIMINGS, {})


def without_floats(tree: Any) -> Any:
    """A tree whose floats, and all that follows from weights, are only named by their type."""
    if isinstance(tree, float):
        return "float"
    if isinstance(tree, dict):
        return {k: _type(v) if k in _AFTER_WEIGHTS else without_floats(v) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return [without_floats(part) for part in tree]
    return tree


def _type(value: Any) -> str:
    if isinstance(value, str) and len(value) in {64, 128} and set(value) <= set("0123456789abcdef"):
        return f"hex {len(value)}" if value.strip("0") else "zeros"
    return "null" if value is None else type(value).__name__


def pruned(tree: Any, dropped: set[str], replaced: dict[str, str]) -> Any:
    """A tree without some keys, and with parts of its texts replaced."""
    if isinstance(tree, dict):
        return {k: pruned(v, dropped, replaced) for k, v in tree.items() if k not in dropped}
    if isinstance(tree, list | tuple):
        return [pruned(part, dropped, replaced) for part in tree]
    if isinstance(tree, str):
        for old, new in replaced.items():
            tree = tree.replace(old, new)
    return tree


def shape(tree: Any) -> Any:
    """Field names and types only."""
    if isinstance(tree, dict):
        return {k: shape(v) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return sorted({form(shape(part)) for part in tree})
    return type(tree).__name__


def tensors(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The bytes of a safetensors file's tensors with its metadata, and names, types and sizes."""
    from safetensors import safe_open

    weights: dict[str, Any] = {}
    layout: dict[str, Any] = {}
    with safe_open(path, "pt") as file:
        for name in sorted(file.keys()):
            tensor = file.get_tensor(name)
            weights[name] = tensor.contiguous().numpy().tobytes()
            layout[name] = [str(tensor.dtype), list(tensor.shape)]
        weights["metadata"] = file.metadata()
    return weights, layout


def database(path: Path, root: Path) -> dict[str, list[Any]]:
    """All rows of an SQLite file by table; JSON that is kept as bytes or text is parsed."""
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    found: dict[str, list[Any]] = {}
    with closing(sqlite3.connect(path)) as connection:
        for (table,) in connection.execute(tables).fetchall():
            cursor = connection.execute(f"SELECT * FROM {table} ORDER BY rowid")
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
            found[table] = [
                pruned({k: _cell(v) for k, v in row.items()}, set(), {str(root): "ROOT"})
                for row in _unpacked(rows, table)
            ]
    return found


def _unpacked(rows: list[dict[str, Any]], table: str) -> list[dict[str, Any]]:
    """Ledger entries as they are: how they are compressed depends on the machine's zlib."""
    from securefl.consortium.ledger.entry_packing import add_first, unpacked  # after the pins

    first: defaultdict[str, list[bytes]] = defaultdict(list)
    for row in rows if table == "entries" else ():
        known = first[str(row.get("member", row.get("run")))]
        row["bytes"] = unpacked(row["bytes"], known)
        add_first(known, row["bytes"])
    return rows


def _cell(value: Any) -> Any:
    if isinstance(value, bytes | str):
        try:
            parsed = json.loads(value)
            return parsed if isinstance(parsed, dict) else value
        except ValueError:
            return value.hex() if isinstance(value, bytes) else value
    return value


def wire_order(messages: Iterable[tuple[dict[str, Any], bytes]]) -> list[str]:
    """The kinds of the messages as they arrived."""
    return [fields["kind"] for fields, _ in messages]


def wire_fields(messages: Iterable[tuple[dict[str, Any], bytes]]) -> dict[str, Any]:
    """By kind, how many messages there were, and their fields with types."""
    messages = list(messages)
    counts = Counter(wire_order(messages))
    fields: dict[str, set[str]] = {kind: set() for kind in counts}
    for message, _ in messages:
        fields[message["kind"]] |= {f"{k}: {type(v).__name__}" for k, v in message.items()}
    return {kind: [counts[kind], *sorted(fields[kind])] for kind in sorted(counts)}
