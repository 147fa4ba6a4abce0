"""The agreed start: the shared model before the first round, which every party computes itself."""

from __future__ import annotations

from pathlib import Path

import torch

from securefl.config.schema import RunConfig
from securefl.errors import InputError
from securefl.ml.parameters import joined_shared, shared_vector
from securefl.ml.seeds import derive_seed
from securefl.ml.tensor_io import read_tensors
from securefl.ml.vectors import FloatVector
from securefl.tasks.base import AnyTask


def starting_model(config: RunConfig, task: AnyTask, facts: object) -> FloatVector:
    """Return the shared model before the first round, float32 [d], from seed or an earlier run.

    Raises:
        InputError: If the earlier run's weights are of another model.
    """
    torch.manual_seed(derive_seed(config.seed, "shared"))
    model = task.model(facts, 0)
    if config.warm_start is None:
        return shared_vector(model)
    tensors, _ = read_tensors(Path(config.warm_start))
    try:
        return joined_shared(model, tensors)
    except ValueError as error:
        raise InputError(f"{config.warm_start}: {error}") from None
