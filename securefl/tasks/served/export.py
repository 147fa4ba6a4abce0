"""A model for other programs: ONNX or torch.export, compared with the original, and vectors."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from securefl.errors import InputError, needs_extra
from securefl.tasks.common.serving import Graph
from securefl.tasks.served.folder import json_bytes, refuse_existing, write_new_folder
from securefl.tasks.served.model import Model
from securefl.tasks.served.own_data import Data

Format = Literal["onnx", "torch"]
FILES: Final[dict[str, str]] = {"onnx": "model.onnx", "torch": "model.pt2"}
DESCRIPTION: Final = "model.json"
_OPSET: Final = 18
_CHECKS: Final = 20
"""Random inputs on which an export is compared with the original."""
_TOLERANCE: Final = 1e-4
"""Largest difference of an output, relative to the largest output; float32 has 7 digits."""

Compute = Callable[[tuple[Tensor, ...]], npt.NDArray[np.float32]]


def export_model(model: Model, form: Format, folder: Path) -> float:
    """Write what a model serves as one file for other programs, and a description of it.

    Args:
        model: The model.
        form: The format.
        folder: A new folder.

    Returns:
        The largest difference to the original on random inputs, relative to its largest output.

    Raises:
        InputError: If the model is no network, a package is missing, the result is another one, or
            the folder exists.
    """
    refuse_existing(folder)  # before a minute of work
    graph = model.opened.served.graph()
    if graph is None:
        name = model.config.model.name
        raise InputError(f"what this {name} model serves is no single network; try --format mlflow")
    network = graph.network.requires_grad_(False).eval()
    content, compute = (_onnx if form == "onnx" else _torch)(network, graph)
    off = max(_difference(network, compute, graph.example(seed)) for seed in range(_CHECKS))
    if not off <= _TOLERANCE:
        raise InputError(f"the export differs from the model by {off:.1e}; nothing was written")
    files = {FILES[form]: content, DESCRIPTION: json_bytes(_description(model, graph, off))}
    write_new_folder(folder, files)
    return off


def export_vectors(model: Model, out: Path, data: Data | None = None) -> tuple[int, int]:
    """Write vectors of products and customers, as .npz, for nearest-neighbour search.

    Args:
        model: The model.
        out: A new file.
        data: The customers' purchases; see `Model.recommend`.

    Returns:
        The numbers of products and customers.

    Raises:
        InputError: If what is served is no inner product, or the file exists.
    """
    if out.suffix != ".npz":
        raise InputError(f"{out}: vectors are written as .npz")
    refuse_existing(out)
    own = model.read(data)
    found = model.opened.served.vectors(own.tables)
    if found is None:
        raise InputError(
            f"what this {model.config.model.name} model serves is no inner product of vectors"
        )
    arrays: dict[str, npt.NDArray[Any]] = {
        "products": np.asarray(model.opened.vocabulary.label(found.products)).astype(str),
        "product_vectors": found.product_vectors,
        "customers": np.asarray(own.label(found.customers)).astype(str),
        "customer_vectors": found.customer_vectors,
    }
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    try:
        with out.open("xb") as file:
            file.write(packed.getvalue())
    except FileExistsError:
        raise InputError(f"{out} exists; nothing was written") from None
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}") from None
    return len(found.products), len(found.customers)


def _program(network: nn.Module, graph: Graph) -> torch.export.ExportedProgram:
    """Return the network as operations on tensors alone, with free dimensions."""
    free = tuple(
        dict.fromkeys(graph.free.get(name, ()), torch.export.Dim.AUTO) for name in graph.inputs
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(network, graph.example(0), dynamic_shapes=free)


def _onnx(network: nn.Module, graph: Graph) -> tuple[bytes, Compute]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch translates with it
    except ImportError:
        raise needs_extra("onnx", "ONNX") from None
    names = list(graph.inputs)
    with torch.no_grad(), warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        translated = torch.onnx.export(
            _program(network, graph),
            dynamo=True,
            opset_version=_OPSET,
            input_names=names,
            output_names=[graph.output],
            verbose=False,
        )
    assert translated is not None
    content = translated.model_proto.SerializeToString()
    onnx.checker.check_model(content)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    used = {one.name for one in session.get_inputs()}

    def compute(arguments: tuple[Tensor, ...]) -> npt.NDArray[np.float32]:
        named = zip(names, arguments, strict=True)
        fed = {name: value.numpy() for name, value in named if name in used}
        found: npt.NDArray[np.float32] = session.run(None, fed)[0]
        return found

    return content, compute


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the translator's notes on what it left as it was from the screen."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    before = [one.level for one in loggers]
    try:
        for one in loggers:
            one.setLevel(logging.ERROR)
        yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)


def _torch(network: nn.Module, graph: Graph) -> tuple[bytes, Compute]:
    content = io.BytesIO()
    torch.export.save(_program(network, graph), content)
    loaded = torch.export.load(io.BytesIO(content.getvalue())).module()

    def compute(arguments: tuple[Tensor, ...]) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            found: npt.NDArray[np.float32] = loaded(*arguments).numpy()
            return found

    return content.getvalue(), compute


def _difference(network: nn.Module, compute: Compute, arguments: tuple[Tensor, ...]) -> float:
    """Return the largest difference of an output, relative to the largest output."""
    with torch.no_grad():
        wanted = network(*arguments).numpy()
    found = compute(arguments)
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    largest = np.abs(wanted).max(initial=0.0)
    return float(np.abs(found - wanted).max(initial=0.0) / max(largest, 1e-9))


def _description(model: Model, graph: Graph, off: float) -> dict[str, Any]:
    about = model.manifest
    label = model.opened.vocabulary.label
    return {
        "task": about.task,
        "model": about.model,
        "member": about.member,
        "digest": about.digest,
        "agreement": about.agreement,
        "protection": about.protection,
        "inputs": [{"name": name, "is": what} for name, what in graph.inputs.items()],
        "output": graph.output,
        "rows": {name: [str(one) for one in label(ids)] for name, ids in graph.rows.items()},
        "largest_relative_difference": off,
        "compared_inputs": _CHECKS,
    }
