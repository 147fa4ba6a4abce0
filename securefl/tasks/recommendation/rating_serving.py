"""Lists of products from the classifier of ratings: the highest expected class first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from securefl.data.tables import RetailerTables
from securefl.errors import InputError
from securefl.tasks.base import AnyTask
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.serving import Ints, OwnPart, Request, ServedModel, Verb, before
from securefl.tasks.recommendation.lists import list_frame, list_length
from securefl.tasks.recommendation.rating_task import RatingFacts, RatingMember

_CUSTOMERS: Final = 32


class ServedRatings(ServedModel):
    """Ranks products by the class that a customer is expected to give them.

    Args:
        task: The task.
        facts: What the members agreed on.
        model: The classifier; row u of its table is customer u of every retailer.
        rated: Training ratings of each product at this member, int64 [I].
    """

    verb: ClassVar[Verb] = "recommend"
    options: ClassVar[frozenset[str]] = frozenset(
        {"as_of", "customers", "k", "candidates", "keep_bought"}
    )
    use: ClassVar[str] = "A baseline to compare with: it reproduces the tutorial's federation."
    limits: ClassVar[tuple[str, ...]] = (
        "Row u of its table is customer u of every retailer, although they are different people.",
    )
    facts: RatingFacts

    def __init__(self, task: AnyTask, facts: RatingFacts, model: nn.Module, rated: Tensor) -> None:
        super().__init__(task, facts, model)
        self.rated = rated

    @classmethod
    def of_member(cls, problem: LocalProblem, model: nn.Module) -> Self:
        """See `ServedModel`."""
        member, facts = problem.data, problem.facts
        assert isinstance(member, RatingMember)
        products = member.splits[member.name]["train"][1]
        rated = torch.bincount(products, minlength=len(facts.products))
        return cls(problem.task, facts, model, rated)

    @classmethod
    def opened(cls, task: AnyTask, facts: Any, model: nn.Module, own: OwnPart) -> Self:  # noqa: ANN401
        """See `ServedModel`."""
        if own.tensors["rated"].shape != facts.products.shape:
            raise ValueError("rated is of other products")
        return cls(task, facts, model, own.tensors["rated"])

    def own_part(self) -> OwnPart:
        """See `ServedModel`."""
        return OwnPart({"rated": self.rated}, {})

    def predict(self, tables: RetailerTables, request: Request) -> Iterator[pd.DataFrame]:
        """Yield `customer`, `rank`, `product`, `score` and `basis`, see `ServedModel`.

        `score` is the expected class. A customer without a row in the model has the products that
        were rated most, with their share of all ratings as the score.
        """
        lines = before(tables.transactions, request.as_of)
        wanted = self._candidates(request)
        k = list_length(request.k, int(wanted.sum()))
        found = lines["customer"].to_numpy(np.int64)
        ids = np.unique(found[found >= 0]) if request.customers is None else request.customers
        bought = None if request.keep_bought else self._bought(lines)
        for first in range(0, len(ids), _CUSTOMERS):
            yield self._lists(ids[first : first + _CUSTOMERS], wanted, k, bought)

    def _candidates(self, request: Request) -> Tensor:
        known = self.facts.products >= 0
        if request.candidates is None:
            return torch.from_numpy(known) & (self.rated > 0)
        allowed = known & np.isin(self.facts.products, request.candidates)
        if not allowed.any():
            raise InputError("no product is left that this model may list")
        return torch.from_numpy(allowed)

    def _bought(self, lines: pd.DataFrame) -> dict[int, Ints]:
        known = lines[lines["product"].isin(self.facts.products)]
        place = np.searchsorted(self.facts.products, known["product"].to_numpy(np.int64))
        customers = known["customer"].to_numpy(np.int64)
        return {one: np.unique(place[customers == one]) for one in np.unique(customers).tolist()}

    @torch.no_grad()
    def _lists(
        self, ids: Ints, wanted: Tensor, k: int, bought: dict[int, Ints] | None
    ) -> pd.DataFrame:
        known = (ids >= 0) & (ids < self.facts.customers)
        scores = (self.rated / self.rated.sum().clamp(min=1)).expand(len(ids), -1).clone()
        rows = torch.from_numpy(np.flatnonzero(known))
        if len(rows):
            count = scores.shape[1]
            customers = torch.from_numpy(ids[known]).repeat_interleave(count)
            logits = self.model(customers, torch.arange(count).repeat(len(rows)))
            classes = torch.arange(logits.shape[1], dtype=logits.dtype)
            scores[rows] = (logits.softmax(dim=1) @ classes).reshape(len(rows), count)
        scores.masked_fill_(~wanted, float("-inf"))
        for row, customer in enumerate(ids.tolist() if bought is not None else ()):
            assert bought is not None
            scores[row, torch.from_numpy(bought.get(customer, ids[:0]))] = float("-inf")
        basis = np.where(known, "known", "popular")
        return list_frame(self.facts.products, ids, basis, scores.topk(k, dim=1))
