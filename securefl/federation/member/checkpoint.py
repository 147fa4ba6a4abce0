"""A member's durable state between rounds: its local parameters and its optimizer's state."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import pandas as pd
import safetensors.torch
import torch
from torch import Tensor, nn

from securefl.ml.parameters import load_local, local_state
from securefl.ml.tensor_io import delete, read_tensors, write_atomically, write_tensors
from securefl.privacy.round_updates import RoundTraining
from securefl.tasks.served.starting import OwnStart
from securefl_protocols.noise.layers import NoiseLayers, UnopenableLayers


def write_outputs(directory: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write each table as `<name>.csv`, numbers to five digits.

    Raises:
        RunDirectoryError: If a file cannot be written.
    """
    for name, table in tables.items():
        text = table.to_csv(index=False, float_format="%.5g", lineterminator="\n")
        write_atomically(directory / f"{name}.csv", text.encode())


@dataclass(frozen=True)
class StateBefore:
    """What a member held before it trained in a round; needed until the vote on it is known.

    Attributes:
        round: The round.
        local: The local parameters.
        moments: The optimizer's state, by `position/key`.
    """

    round: int
    local: dict[str, Tensor]
    moments: dict[str, Tensor]

    @classmethod
    def of(cls, number: int, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> Self:
        """Return a copy of what is in model and optimizer now."""
        moments = {name: value.clone() for name, value in _moments(optimizer).items()}
        return cls(number, local_state(model), moments)

    def put_back(self, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
        """Write it into model and optimizer."""
        load_local(model, self.local)
        if optimizer is not None:
            _restore_optimizer(optimizer, self.moments)


def same_tensors(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    """Return whether two states have the same names and values."""
    return some.keys() == others.keys() and all(
        torch.equal(tensor, others[name]) for name, tensor in some.items()
    )


@dataclass
class MemberState:
    """A member's state after a round.

    Attributes:
        local: The local parameters now.
        kept: The local parameters of the best round so far.
        optimizer: The optimizer whose state is saved, and restored in place; None without one.
        before: The state before the newest training; None where no vote can take that back.
    """

    local: dict[str, Tensor]
    kept: dict[str, Tensor]
    optimizer: torch.optim.Optimizer | None
    before: StateBefore | None = None


class UpdateStore(Protocol):
    """The store of finished trainings, for a member that may be killed at any moment.

    Attributes:
        replaying: Whether the member answers a request that it has answered before.
    """

    @property
    def replaying(self) -> bool:
        """See above."""

    def recall(self, name: str) -> bytes | None:
        """Return the training under a name; None without one."""

    def keep(self, name: str, training: bytes) -> None:
        """Keep a training under a name; durable and encrypted on return."""


class NoOpStore:
    """The store of a member that is never restarted in the middle of a round; keeps nothing."""

    replaying = False

    def recall(self, name: str) -> None:
        """See `UpdateStore.recall`."""

    def keep(self, name: str, training: bytes) -> None:
        """See `UpdateStore.keep`."""


def pack_training(
    change: Tensor, loss: float, layers: NoiseLayers | None, state: MemberState
) -> bytes:
    """Return a round's change (float32 [d]) and loss, and the member's state after training."""
    # Of noise layers only the anchor: with their keys on disk, noise of a sum could be removed
    # later by an attacker that steals the disk.
    tensors = {"change": change, **_state_tensors(state)}
    anchor = layers.anchor.hex() if layers else ""
    metadata = {"loss": json.dumps(loss), "anchor": anchor}
    packed: bytes = safetensors.torch.save(tensors, metadata)
    return packed


def unpack_training(
    packed: bytes, optimizer: torch.optim.Optimizer | None
) -> tuple[Tensor, float, NoiseLayers | None, MemberState]:
    """Return the inverse of `pack_training`; the optimizer's state is written into `optimizer`."""
    tensors = safetensors.torch.load(packed)
    length = int.from_bytes(packed[:8], "little")
    metadata = json.loads(packed[8 : 8 + length])["__metadata__"]
    anchor = bytes.fromhex(metadata["anchor"])
    layers = UnopenableLayers(anchor) if anchor else None
    loss = json.loads(metadata["loss"])
    return tensors.pop("change"), loss, layers, _state_of(tensors, optimizer)


def state_path(directory: Path, round_number: int) -> Path:
    """Return the file of a round's state."""
    return directory / f"round-{round_number}.safetensors"


def save_member(directory: Path, round_number: int, state: MemberState, before: int) -> None:
    """Write the state of a round, and delete all but the one before it and the last saved one.

    The one before it is needed where the coordinator dies before its own checkpoint and repeats the
    round; the last saved one, where the member dies before a snapshot names the new one.

    Raises:
        RunDirectoryError: If a file cannot be written or deleted; see `disk_error`.
    """
    tensors = _state_tensors(state)
    write_tensors(state_path(directory, round_number), tensors, {"round": str(round_number)})
    recent = {state_path(directory, one) for one in (round_number, round_number - 1, before)}
    for old in directory.glob("round-*.safetensors"):
        if old not in recent:
            delete(old)


def load_member(
    directory: Path, round_number: int, optimizer: torch.optim.Optimizer | None
) -> MemberState:
    """Read the state of a round; the optimizer's is written into `optimizer`.

    Raises:
        RunDirectoryError: If there is none, or it is damaged.
    """
    tensors, _ = read_tensors(state_path(directory, round_number))
    return _state_of(tensors, optimizer)


def _state_tensors(state: MemberState) -> dict[str, Tensor]:
    tensors = {f"local/{name}": tensor for name, tensor in state.local.items()}
    tensors |= {f"kept/{name}": tensor for name, tensor in state.kept.items()}
    tensors |= {f"optimizer/{name}": tensor for name, tensor in _moments(state.optimizer).items()}
    if (before := state.before) is not None:
        tensors["before/round"] = torch.tensor(before.round)
        tensors |= {f"before-local/{name}": tensor for name, tensor in before.local.items()}
        tensors |= {f"before-optimizer/{name}": tensor for name, tensor in before.moments.items()}
    return tensors


def _state_of(tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer | None) -> MemberState:
    parts: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        part, name = key.split("/", 1)
        parts[part][name] = tensor
    if optimizer is not None:
        _restore_optimizer(optimizer, parts["optimizer"])
    before = None
    if "before" in parts:
        number = int(parts["before"]["round"])
        before = StateBefore(number, parts["before-local"], parts["before-optimizer"])
    return MemberState(parts["local"], parts["kept"], optimizer, before)


def optimizer_state(optimizer: torch.optim.Optimizer | None, model: nn.Module) -> dict[str, Tensor]:
    """Return an optimizer's state by `parameter/key`, by which the next run finds it again."""
    if optimizer is None:
        return {}
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def begin_with(own: OwnStart | None, model: nn.Module, trainer: RoundTraining) -> None:
    """Take up what a retailer takes along from its last run, in place."""
    if own is None:
        return
    load_local(model, own.local)
    if trainer.optimizer is None:
        return
    parameters = dict(model.named_parameters())
    for entry, value in own.optimizer.items():
        name, _, key = entry.rpartition("/")
        trainer.optimizer.state[parameters[name]][key] = value.clone()


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _moments(optimizer: torch.optim.Optimizer | None) -> dict[str, Tensor]:
    """Return an optimizer's state by `position/key`."""
    if optimizer is None:
        return {}
    return {
        f"{position}/{key}": value
        for position, parameter in enumerate(_parameters(optimizer))
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = _parameters(optimizer)
    optimizer.state.clear()
    for name, tensor in tensors.items():
        position, key = name.split("/")
        parameter = parameters[int(position)]
        # Adam keeps its step counter on the CPU unless it is capturable or fused on a GPU.
        device = tensor.device if key == "step" else parameter.device
        optimizer.state[parameter][key] = tensor.to(device)
