"""The few settings that people change from run to run, as a tree like that of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from securefl.config.load import Tree, merge
from securefl.errors import ConfigError

_DROPOUT = re.compile(r"(.+)@([0-9]+):([a-z-]+)")


def options_tree(
    *,
    task: str | None = None,
    mode: str | None = None,
    data: str | Mapping[str, Any] | None = None,
    model: str | Mapping[str, Any] | None = None,
    rounds: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    workers: int | None = None,
    references: bool | Mapping[str, Any] | None = None,
    dp: str | None = None,
    epsilon: float | None = None,
    delta: float | None = None,
    unit: str | None = None,
    **sections: Any,  # noqa: ANN401 - validated with the whole configuration
) -> Tree:
    """What was given, and nothing else, so that it wins over a file only where it was meant to.

    Args:
        task: Name of the task.
        mode: How updates are protected.
        data: Name of the source, or its whole section.
        model: Name of the model, or its whole section.
        rounds: Number of rounds.
        seed: The run's seed.
        device: Where members compute.
        workers: Processes that host members.
        references: Whether the references are trained, or their whole section.
        dp: Whether single customers are protected, and by whom.
        epsilon: The run's budget for each unit.
        delta: The budget's delta.
        unit: Whose presence is hidden.
        **sections: Any other key of a configuration, for example `training={"batch_size": 64}`.
    """
    engine = _given(device=device, workers=workers)
    privacy = _given(dp=dp, epsilon=epsilon, delta=delta, unit=unit)
    tree = _given(
        task=task,
        mode=mode,
        data={"source": data} if isinstance(data, str) else data,
        model={"name": model} if isinstance(model, str) else model,
        rounds=rounds,
        seed=seed,
        engine=engine or None,
        privacy=privacy or None,
        references={"enabled": references} if isinstance(references, bool) else references,
    )
    return merge(sections, tree)


def parse_dropouts(texts: Iterable[str]) -> list[Tree]:
    """Return planned dropouts from `member@round:step`, as they stand in `[[simulation.dropouts]]`.

    Raises:
        ConfigError: If a text has another form.
    """
    found = []
    for text in texts:
        match = _DROPOUT.fullmatch(text)
        if match is None:
            raise ConfigError(f"'{text}' is no dropout; write member@round:step")
        member, round_number, step = match.groups()
        found.append({"member": member, "round": int(round_number), "step": step})
    return found


def _given(**values: Any) -> Tree:  # noqa: ANN401 - a tree of plain values
    return {key: value for key, value in values.items() if value is not None}
