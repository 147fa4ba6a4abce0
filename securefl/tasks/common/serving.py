"""What a member serves when a run has ended: a frozen model that is packed, opened and asked.

A task names its class in its specification (`ModelSpec.served`). Everything that serving needs was
chosen in the run, weights of a blend included, so nothing is trained or chosen again: predictions
of the test cases are those of the closing table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from securefl.data.tables import RetailerTables
from securefl.errors import InputError
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.ml.parameters import local_parameters
from securefl.tasks.base import AnyTask
from securefl.tasks.common.held_out import HeldOut
from securefl.tasks.common.learner import LocalProblem

Ints = npt.NDArray[np.int64]
Verb = Literal["recommend", "forecast", "predict_proba", "predict"]


@dataclass(frozen=True)
class OwnPart:
    """What a member serves beside the shared model, and never gives away.

    Attributes:
        tensors: Its tensors by name.
        settings: Further values, as JSON has them.
        key: Secret key of the customers' keyed hashes; empty without customers.
    """

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Request:
    """What is asked of a model; None leaves the model's default.

    Attributes:
        customers: Customers to answer for, int64; all in the data by default.
        k: Length of each list.
        candidates: Products that may be listed, int64.
        keep_bought: Whether a list may hold what the customer bought.
        new_products: Whether to rank the products that count as new, and those alone.
        horizon: Number of steps ahead.
        interval: Probability that a band should hold.
        as_of: The moment from which on nothing is known, datetime64[ns].
    """

    customers: Ints | None = None
    k: int | None = None
    candidates: Ints | None = None
    keep_bought: bool | None = None
    new_products: bool | None = None
    horizon: int | None = None
    interval: float | None = None
    as_of: np.datetime64 | None = None

    def given(self) -> frozenset[str]:
        """Return the names of what was asked for."""
        return frozenset(one.name for one in fields(self) if getattr(self, one.name) is not None)


@dataclass(frozen=True)
class Graph:
    """What is served, as a function of tensors that other programs can compute.

    Attributes:
        network: The function.
        inputs: Names of its arguments to what they are, in their order.
        output: Name of its result.
        free: Input to its dimensions that may have any length, each with a name.
        example: From a seed to arguments, whose free dimensions have random lengths.
        rows: Labels of what rows of tensors stand for, as numbers; name to int64.
    """

    network: nn.Module
    inputs: Mapping[str, str]
    output: str
    free: Mapping[str, Mapping[int, str]]
    example: Callable[[int], tuple[Tensor, ...]]
    rows: Mapping[str, Ints] = field(default_factory=dict)


@dataclass(frozen=True)
class Vectors:
    """Products and customers as vectors whose inner product orders products as a list does.

    Attributes:
        products: Product ids, int64 [I].
        product_vectors: Float32 [I, d].
        customers: Customers, int64 [n].
        customer_vectors: Float32 [n, d].
    """

    products: Ints
    product_vectors: npt.NDArray[np.float32]
    customers: Ints
    customer_vectors: npt.NDArray[np.float32]


class ServedModel(ABC):
    """A model as one member serves it.

    Args:
        task: The task.
        facts: What the members agreed on.
        model: The shared parameters, with the member's local ones.
    """

    verb: ClassVar[Verb] = "predict"
    options: ClassVar[frozenset[str]] = frozenset({"as_of"})
    """Fields of a `Request` that it understands."""
    use: ClassVar[str] = "Predictions for the member that trained it."
    """What it is meant for, as a paragraph of the model card."""
    limits: ClassVar[tuple[str, ...]] = ()
    """What it cannot do, as sentences of the model card."""

    task: AnyTask

    def __init__(self, task: AnyTask, facts: Any, model: nn.Module) -> None:  # noqa: ANN401
        self.task = task
        self.facts = facts
        self.model = model.eval()

    @classmethod
    def of_member(cls, problem: LocalProblem, model: nn.Module) -> Self:
        """Return what a member serves, from its learning problem and its model of the result."""
        return cls(problem.task, problem.facts, model)

    @classmethod
    def opened(cls, task: AnyTask, facts: Any, model: nn.Module, own: OwnPart) -> Self:  # noqa: ANN401
        """Return what was packed; the inverse of `own_part`.

        Raises:
            ValueError: If a part is missing or of another shape; also KeyError and TypeError.
        """
        del own
        return cls(task, facts, model)

    def own_part(self) -> OwnPart:
        """Return what has to be kept beside the model's parameters."""
        return OwnPart({}, {})

    def evaluate(self, member: Any, split: Split) -> dict[str, MetricSums]:  # noqa: ANN401
        """Return the metrics on a member's held-out cases, as `Task.evaluate` computes them."""
        return self.task.evaluate(self.model, member, split)

    def parts(self, member: Any, count: int) -> Sequence[Any]:  # noqa: ANN401
        """Return the member's test cases in `count` disjoint parts, for standard errors.

        By default none, which leaves metrics without an error.
        """
        del member, count
        return ()

    def held_out(self, member: Any, tables: RetailerTables) -> HeldOut | None:  # noqa: ANN401
        """Return what is said of the member's test cases, to be drawn; None without a picture.

        Args:
            member: The member, as `Task.prepare` made it of the tables.
            tables: Its tables, cut as in the run.
        """
        del member, tables
        return None

    def graph(self) -> Graph | None:
        """Return what is served as a function of tensors; None where it is none."""
        return None

    def vectors(self, tables: RetailerTables) -> Vectors | None:
        """Return products and the data's customers as vectors; None where scores are no products.

        Args:
            tables: See `predict`.
        """
        del tables
        return None

    @abstractmethod
    def predict(self, tables: RetailerTables, request: Request) -> Iterator[pd.DataFrame]:
        """Yield predictions, some rows at a time; the columns are the same in all.

        Columns `customer` and `product` hold the numbers of the tables; labels are put in later.

        Args:
            tables: The member's tables; products that the agreed catalogue lacks are -1.
            request: What is asked.

        Raises:
            InputError: If it cannot be answered from these data.
        """


def refuse_unknown(served: ServedModel, request: Request) -> None:
    """Refuse a request for something that a model cannot do.

    Raises:
        InputError: If there is any.
    """
    unknown = sorted(request.given() - served.options)
    if unknown:
        raise InputError(
            f"{unknown[0].replace('_', ' ')}: not for a model of task '{served.task.config.task}'"
        )


def before(transactions: pd.DataFrame, as_of: np.datetime64 | None) -> pd.DataFrame:
    """Return the lines before a moment; all of them for None."""
    if as_of is None:
        return transactions
    return transactions[transactions["time"].to_numpy("datetime64[ns]") < as_of]


def _is_one_less(value: Tensor, parameter: Tensor) -> bool:
    return value.shape[1:] == parameter.shape[1:] and len(value) + 1 == len(parameter)


@torch.no_grad()
def load_rows(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Write parameters into a model that may have one row more of its local tables.

    The row is for customers who were not in the run; it becomes 0, the mean of a fresh start.

    Raises:
        ValueError: If a parameter is missing or of another shape.
    """
    local = local_parameters(model)
    parameters = dict(model.named_parameters())
    if parameters.keys() != state.keys():
        raise ValueError("the names of parameters do not match")
    for name, parameter in parameters.items():
        value = state[name]
        # Of other local parameters, such as a list of products, there is no row more.
        if name in local and value.ndim and _is_one_less(value, parameter):
            value = torch.cat([value, value.new_zeros(1, *value.shape[1:])])
        if value.shape != parameter.shape or value.dtype != parameter.dtype:
            raise ValueError(f"{name} is {list(value.shape)}, not {list(parameter.shape)}")
        parameter.copy_(value)


def parts_of_cases(
    member: Any,  # noqa: ANN401 - any task's
    count: int,
    groups: Callable[[Any], Tensor],
) -> list[Any]:
    """Return a member `count` times, each time with another part of its test cases.

    Args:
        member: A member with `cases`: group of cases to split to cases, which have `at(rows)`.
        count: Number of parts.
        groups: From test cases to what stays together, int64 [n]: a customer, a series.
    """

    def part_of(part: int) -> Any:  # noqa: ANN401
        cases = {
            name: {**splits, "test": splits["test"].at(rows)}
            for name, splits in member.cases.items()
            for rows in [(groups(splits["test"]) % count == part).nonzero().flatten()]
        }
        return replace(member, cases=cases)

    return [part_of(part) for part in range(count)]
