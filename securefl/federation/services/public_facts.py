"""Facts: the public metadata that all members share (products, calendar, sizes), in one file.

On one machine a task derives them from all members' tables. Over a network no party has all tables,
so the facts are in a file that every party reads. The file's digest is part of the run's id, so
that parties with different facts cannot exchange messages.

Every member learns the content of the file; `docs/network.md` lists it for each task.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgpack

from securefl.config.schema import RunConfig
from securefl.data.sources.public_catalogue import (
    agreed_alone,
    agreed_data,
    agreed_digest,
    common_data,
)
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData
from securefl.errors import AgreementError, InputError
from securefl.ml.tensor_io import write_atomically
from securefl.tasks.common.facts_tree import facts_of, facts_tree
from securefl.tasks.registry import check_model, create_task
from securefl.untrusted.files import MEBIBYTE, read_bytes, taken

_LARGEST = 1024 * MEBIBYTE

_VERSION = 2


@dataclass(frozen=True)
class Facts:
    """Facts from a file.

    Attributes:
        digest: SHA-256 of the file.
        content: The task's own facts object.
    """

    digest: bytes
    content: Any


def make_facts(config: RunConfig, path: Path) -> Facts:
    """Write the facts of a configuration's data to a new file.

    Raises:
        InputError: If the data are wrong, or the file exists or cannot be written.
    """
    check_model(config)
    if taken(path):
        raise InputError(f"{path} exists; it was not touched")
    content, packed = _made(config, common_data(config.data, lambda: load(config.data)))
    write_atomically(path, packed)
    return Facts(sha256(packed).digest(), content)


def check_facts(config: RunConfig, facts: Facts) -> None:
    """Refuse facts that do not follow from the agreed catalogue and period.

    Without an agreed period they come from all members' tables, and no single member can check
    them.

    Args:
        config: What was agreed; the root of its data is the folder of the catalogue here.
        facts: The facts of the file.

    Raises:
        AgreementError: If they differ.
        InputError: If the catalogue is missing.
        DataError: If the catalogue is wrong.
    """
    check_model(config)  # under a budget there is an agreed period, or the run is refused
    settings = agreed_alone(config.data)
    if settings is None:
        return
    _, packed = _made(config, agreed_data(settings))
    if sha256(packed).digest() != facts.digest:
        raise AgreementError(
            "the facts are not those of the agreed catalogue and period: compare the catalogues,"
            " and make the facts anew with securefl facts"
        )


def _made(config: RunConfig, data: RetailData) -> tuple[object, bytes]:
    """Return the task's facts, and the bytes of their file."""
    content = create_task(config).agree(data)
    tree = {"version": _VERSION, "task": config.task, "facts": facts_tree(content)}
    settings = agreed_alone(config.data)
    if settings is not None:
        tree |= {"agreed": agreed_digest(settings, data)}
    return content, msgpack.packb(tree)


def read_facts(path: Path) -> Facts:
    """Return the facts in a file.

    Raises:
        InputError: If it is missing or damaged.
    """
    packed = read_bytes(path, _LARGEST)
    try:
        tree = msgpack.unpackb(packed)
        if tree["version"] != _VERSION:
            raise ValueError("another version")
        return Facts(sha256(packed).digest(), facts_of(tree["facts"], tree["task"]))
    except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException):
        raise InputError(f"{path} is damaged: no facts of a task") from None
