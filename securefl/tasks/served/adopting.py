"""The released model on a retailer's own data: it may be one that took no part in the run.

What a member's folder has and the released one has not is made from the purchases that are given:
recent sales, local models, weights of the blend, the errors that bands rest on. So it takes as long
as a member's closing evaluation, and customers are served from their purchases, as strangers are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from securefl.data.tables import RetailerTables
from securefl.errors import DataError, InputError
from securefl.ml.parameters import clear_local, load_shared
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.serving import OwnPart, ServedModel, before
from securefl.tasks.registry import create_task
from securefl.tasks.served.manifest import Manifest
from securefl.tasks.served.opening import FolderParts, OpenedModel, parts_fit, read_parts
from securefl.tasks.served.own_data import Source, own_data
from securefl.tasks.served.writing import served_class

_CUSTOMERS: Final = "customers"


def open_released(folder: Path, source: Source | None, member: str | None) -> OpenedModel:
    """Return what a retailer serves with a released model and its own data.

    Args:
        folder: The folder of a released model.
        source: Where the retailer's data are, or its purchases.
        member: Its name in the data; by default that of the only one there.

    Raises:
        InputError: If no data are given, or the model can be served from none.
    """
    parts = read_parts(folder)
    if source is None:
        raise InputError(
            f"{folder} is the released shared model alone, without any member's own part: give"
            " your purchases with --data CONFIG.toml; a member predicts with members/NAME/model"
        )
    name = member or _only(source)
    apart = mechanism_for(parts.config.privacy).private
    tables = own_data(source, name, parts.vocabulary, now=True, apart=apart).tables
    about: Manifest = parts.manifest.model_copy(update={"member": name})
    return OpenedModel(folder, about, parts.config, parts.vocabulary, adopted(parts, tables))


def adopted(parts: FolderParts, tables: RetailerTables) -> ServedModel:
    """Return a model that is served with what follows from a retailer's tables.

    Raises:
        InputError: If they are too few to serve it.
    """
    config, facts = parts.config, parts.facts
    task, kind = create_task(config), served_class(config)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), parts_fit(parts.folder):
        shared = parts.shared(task.model(facts, 0))
        try:
            member = task.prepare(_until(tables, getattr(facts, "end", None)), facts)
        except DataError as error:
            raise InputError(f"these data are too few to serve this model: {error}") from None
        problem = LocalProblem(config, task, facts, member)

        def fresh(customers: int) -> nn.Module:
            model = task.model(facts, customers)
            load_shared(model, shared)
            clear_local(model)
            return model.eval()

        own = kind.of_member(problem, fresh(member.customers)).own_part()
        return kind.opened(task, facts, fresh(1), _of_strangers(own))


def _of_strangers(own: OwnPart) -> OwnPart:
    """Return an own part without rows of customers: none of them was in the run."""
    if _CUSTOMERS not in own.tensors:
        return own
    return replace(own, tensors={**own.tensors, _CUSTOMERS: own.tensors[_CUSTOMERS][:0]})


def _until(tables: RetailerTables, end: int | None) -> RetailerTables:
    """Return the tables as they were at the end of the agreed period, in ns since 1970."""
    if end is None:
        return tables
    moment = np.datetime64(end + 1, "ns")
    return replace(tables, transactions=before(tables.transactions, moment))


def _only(source: Source) -> str:
    """Return the name of the only retailer in the data.

    Raises:
        InputError: If there are several.
    """
    names = [one.name for one in getattr(source, "members", ())]
    if len(names) > 1:
        raise InputError(f"the data have several retailers ({', '.join(names)}); say --member")
    return names[0] if names else "own"
