"""Facts: the public metadata that all members share (products, calendar, sizes), in one file.

On one machine a task derives them from all members' tables. Over a network no party has all tables,
so the facts are in a file that every party reads. The file's digest is part of the run's id, so
that parties with different facts cannot exchange messages.

Every member learns the content of the file; `docs/howto/network.md` lists it for each task.
"""

from __future__ import annotations

from pathlib import Path

import msgpack
from torch import nn

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
from securefl.federation.messages import MessageError, pack_vector, unpack_vector
from securefl.federation.services.facts_file import VERSION, Facts
from securefl.ml.parameters import shared_vector
from securefl.ml.tensor_io import write_atomically
from securefl.ml.vectors import FloatVector
from securefl.tasks.common.facts_tree import facts_tree
from securefl.tasks.registry import check_model, create_task
from securefl.tasks.served.starting import starting_model
from securefl.tasks.served.writing import vocabulary_of
from securefl.untrusted.files import taken


def make_facts(config: RunConfig, path: Path) -> Facts:
    """Write the facts of a configuration's data to a new file.

    Raises:
        InputError: If the data are wrong, or the file exists or cannot be written.
    """
    check_model(config)
    if taken(path):
        raise InputError(f"{path} exists; it was not touched")
    made, packed = _made(config, common_data(config.data, lambda: load(config.data)))
    write_atomically(path, packed)
    return made


def make_all_facts(config: RunConfig, folder: Path) -> list[Facts]:
    """Write the facts of each run of a schedule, called as the run is, to a new folder.

    Raises:
        InputError: If the data are wrong, or a file exists or cannot be written.
    """
    assert config.schedule is not None
    if taken(folder):
        raise InputError(f"{folder} exists; it was not touched")
    numbers = range(1, config.schedule.runs + 1)
    return [make_facts(config.scheduled(number), folder / str(number)) for number in numbers]


def check_start(facts: Facts, start: FloatVector) -> None:
    """Refuse facts whose start is another one than the member computed from its own copy.

    Args:
        facts: The facts of the file.
        start: What the first round begins with, as the member computed it, float32 [d].

    Raises:
        AgreementError: If they differ.
    """
    if facts.start != pack_vector(start):
        raise AgreementError(
            "the facts have another start than what follows from the agreed earlier model: make"
            " them anew with securefl facts --from"
        )


def start_in(facts: Facts, model: nn.Module) -> FloatVector:
    """Return the start in the facts, float32 [d], for a party that has no earlier model.

    Raises:
        AgreementError: If there is none, or it is of another model.
    """
    wanted = shared_vector(model)
    if facts.start is None:
        raise AgreementError("the facts have no start; make them with securefl facts --from")
    try:
        found = unpack_vector(facts.start)
    except MessageError:
        found = wanted[:0]
    if found.shape != wanted.shape:
        raise AgreementError("the start in the facts is of another model")
    return found


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
    if _made(config, agreed_data(settings))[0].digest != facts.digest:
        raise AgreementError(
            "the facts are not those of the agreed catalogue and period: compare the catalogues,"
            " and make the facts anew with securefl facts"
        )


def _made(config: RunConfig, data: RetailData) -> tuple[Facts, bytes]:
    """Return the task's facts, and the bytes of their file."""
    content = create_task(config).agree(data)
    tree = {"version": VERSION, "task": config.task, "facts": facts_tree(content)}
    settings = agreed_alone(config.data)
    if settings is not None:
        tree |= {"agreed": agreed_digest(settings, data)}
    if config.goes_on:
        words = vocabulary_of(config, content, data.products)
        start = starting_model(config, create_task(config), content, words)
        tree |= {"start": pack_vector(start)}
    packed = msgpack.packb(tree)
    return Facts(packed, "the new file"), packed
