"""The coordinator's checkpoint: the shared model, the best one, the server optimizer's moments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from securefl.errors import RunDirectoryError
from securefl.federation.aggregation.model_proofs import ModelProof
from securefl.federation.coordinator.rounds import RoundState
from securefl.ml.tensor_io import read_tensors, write_tensors
from securefl.ml.vectors import FloatVector

_MOMENT = "moment/"


def write_checkpoint(path: Path, state: RoundState, run_digest: str) -> None:
    """Write the state after a round.

    Args:
        path: The checkpoint's file.
        state: The state to write.
        run_digest: Identifies the configuration, so that no other run restores the state.
    """
    tensors: dict[str, Tensor] = {
        "shared": torch.from_numpy(state.shared),
        "best": torch.from_numpy(state.best_shared),
    }
    for name, moment in state.server.moments.items():
        tensors[_MOMENT + name] = torch.from_numpy(moment)
    metadata = {
        "round": str(state.round),
        "best_round": str(state.best_round),
        "best_value": repr(state.best_value),
        "run": run_digest,
    }
    proofs = {"proof": state.proof, "best_proof": state.best_proof, "end_proof": state.end_proof}
    for name, proof in proofs.items():
        if proof is not None:
            metadata[name] = proof.stored().hex()
    write_tensors(path, tensors, metadata)


def read_checkpoint(path: Path, state: RoundState, run_digest: str) -> None:
    """Bring a fresh `state` to that of the checkpoint.

    Raises:
        RunDirectoryError: If the file is damaged, or belongs to another configuration.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("run") != run_digest:
        raise RunDirectoryError(f"{path} belongs to another configuration")
    if tensors["shared"].shape != state.shared.shape:
        raise RunDirectoryError(f"{path} is of another model or other data")
    state.shared = _vector(tensors["shared"])
    state.best_shared = _vector(tensors["best"])
    state.round = int(metadata["round"])
    state.best_round = int(metadata["best_round"])
    state.best_value = float(metadata["best_value"])
    state.proof = _proof(metadata.get("proof"))
    state.best_proof = _proof(metadata.get("best_proof"))
    state.end_proof = _proof(metadata.get("end_proof"))
    state.server.restore(
        {
            name.removeprefix(_MOMENT): tensor.numpy()
            for name, tensor in tensors.items()
            if name.startswith(_MOMENT)
        }
    )


def _vector(tensor: Tensor) -> FloatVector:
    return tensor.numpy().astype(np.float32)


def _proof(stored: str | None) -> ModelProof | None:
    return None if stored is None else ModelProof.from_stored(bytes.fromhex(stored))
