"""A member's model as MLflow knows models: a folder that `mlflow.pyfunc` loads and serves.

It holds a copy of the model's folder and names this module as its loader, so nothing is pickled.
MLflow is an extra (`mlflow`), and is imported where a folder is written alone.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from securefl._version import __version__
from securefl.errors import InputError, needs_extra
from securefl.tasks.served.folder import FOLDER, refuse_existing
from securefl.tasks.served.model import Model, open_model

FLAVOUR: Final = "securefl"
_PURCHASES: Final = frozenset({"customer", "product", "time"})
_OF_CUSTOMERS: Final = frozenset({"recommend", "predict_proba"})
_PARAMETERS: Final[dict[str, dict[str, tuple[str, object]]]] = {
    "recommend": {"k": ("integer", 10), "keep_bought": ("boolean", False)},
    "forecast": {"h": ("integer", 1), "interval": ("double", 0.8)},
}
"""Verb to the parameters of a question, with MLflow's types and the defaults."""


class ServedByMlflow:
    """What MLflow asks; it reads `predict` alone.

    Args:
        model: The model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return what the model's own verb returns.

        Args:
            model_input: Purchases to answer from (`customer`, `product`, `time` and any other
                column of theirs), or the column `customer` alone, for whom to answer from the data
                that the run's configuration names; without a row, of all of it.
            params: Parameters of the verb.

        Raises:
            InputError: If the model cannot answer.
        """
        asked, columns = dict(params or {}), set(model_input.columns)
        if columns >= _PURCHASES:
            asked["data"] = model_input
        elif columns == {"customer"}:
            asked["customers"] = model_input["customer"]
        elif len(model_input):
            raise InputError(
                f"give purchases ({', '.join(sorted(_PURCHASES))}), or customers alone"
            )
        if "customers" in asked and self.model.verb not in _OF_CUSTOMERS:
            raise InputError(f"a model of task '{self.model.config.task}' has no customers")
        found: pd.DataFrame = getattr(self.model, self.model.verb)(**asked)
        return found


def write_mlflow(model: Model, folder: Path) -> None:
    """Write a model as a new MLflow model folder.

    Raises:
        InputError: If MLflow is not installed, or the folder exists or cannot be written.
    """
    refuse_existing(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of type hints of its own
            import mlflow.models
            import mlflow.pyfunc
    except ImportError:
        raise needs_extra("mlflow", "MLflow") from None
    described = mlflow.models.Model(signature=_signature(model))
    described.add_flavor(FLAVOUR, securefl_version=__version__, data=FOLDER)
    mlflow.pyfunc.add_to_model(described, loader_module=__name__, data=FOLDER)
    beside = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(mode=0o700)
        shutil.copytree(model.opened.folder, beside / FOLDER)
        (beside / "requirements.txt").write_text(f"securefl=={__version__}\n", encoding="utf-8")
        described.save(str(beside / "MLmodel"))
        beside.rename(folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from None


def _signature(model: Model) -> Any:  # noqa: ANN401 - MLflow's class
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec

    known = _PARAMETERS.get(model.verb, {})
    if not known:
        return None
    specs = [ParamSpec(name, kind, default) for name, (kind, default) in known.items()]
    return ModelSignature(params=ParamSchema(specs))


def _load_pyfunc(path: str) -> ServedByMlflow:
    """Return what `mlflow.pyfunc` asks, for the folder that an MLflow model names."""
    return ServedByMlflow(open_model(path))
