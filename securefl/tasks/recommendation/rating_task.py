"""Ratings as classes: the tutorial's network and loss, evaluated on held-out ratings.

It reproduces the tutorial's federation: the whole model is shared, customer vectors included, and
row u of the customer table is customer u of every retailer, although they are different people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import ConfigError, DataError
from securefl.ml.batches import Batch, Examples, TensorExamples
from securefl.ml.metrics.spec import MetricSpec, Split
from securefl.ml.metrics.sums import MetricSums, Ratio
from securefl.ml.metrics.unit_sums import UnitSums, by_unit
from securefl.tasks.base import MemberData, Task
from securefl.tasks.common.contribution_bounds import UserBatches, unique_per_slot
from securefl.tasks.common.purchase_lines import pair_hash
from securefl.tasks.recommendation.models.ncf import RatingNcf
from securefl.tasks.recommendation.settings import RatingNcfSettings

_SHARES: tuple[tuple[int, Split], ...] = ((0, "test"), (1, "validation"))


_SPLIT: Final = 174
"""Seed of the split; a constant, so that all runs have the same one."""
HELD_OUT: Final = 20
"""One rating in so many validates and one tests: few, to stay near the tutorial's training."""
_CHUNK: Final = 8192


@dataclass(frozen=True)
class RatingFacts:
    """Sizes of the tables, with the same numbers of customers and products at every member.

    Attributes:
        customers: Rows of the customer table.
        products: Product ids, int64 [I], ascending; -1, where it occurs, is the row of products
            that the catalogue does not list.
    """

    format_name: ClassVar[str] = "RatingFacts"
    customers: int
    products: np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class RatingMember(MemberData):
    """Ratings to train on and ratings held out.

    Attributes:
        splits: Retailer to split to customers, products and classes, int64 [N] each.
    """

    splits: Mapping[str, Mapping[Split, Batch]]


class RatingTask(Task[RatingFacts, RatingMember]):
    """Predicts the class of a rating.

    Raises:
        ConfigError: If the configured model does not classify ratings.
    """

    name: ClassVar[str] = "recommendation"
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec("accuracy", higher_is_better=True),
        MetricSpec("train_accuracy", higher_is_better=True),
    )

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        if not isinstance(config.model, RatingNcfSettings):
            raise ConfigError(f"model.name: '{config.model.name}' does not classify ratings")
        self.settings = config.model

    def agree(self, data: RetailData) -> RatingFacts:
        """Return the sizes of the tables.

        Raises:
            DataError: If a member has no ratings, or a customer's number is negative.
        """
        for member in data.members:
            if "rating" not in member.transactions:
                raise DataError(f"{member.name}: no column 'rating', which model rating-ncf needs")
            if (member.transactions["customer"] < 0).any():
                raise DataError(f"{member.name}: model rating-ncf needs customers numbered from 0")
        customers = max(int(m.transactions["customer"].max()) for m in data.members) + 1
        rated = [m.transactions["product"] for m in data.members]
        products = pd.concat([data.products["product"], *rated]).to_numpy(np.int64)
        return RatingFacts(customers, np.unique(products))

    def prepare(self, tables: RetailerTables, facts: RatingFacts) -> RatingMember:
        """Split the ratings: a twentieth for validation, as many for testing, the rest to train.

        Raises:
            DataError: If there are too few ratings, or one is outside the classes.
        """
        splits = self.split(_columns(self.usable(tables, facts), facts))
        return RatingMember(
            name=tables.name,
            examples=self.units(splits["train"]),
            samples=len(splits["train"][0]),
            customers=0,
            splits={tables.name: splits},
        )

    def usable(self, tables: RetailerTables, facts: RatingFacts) -> pd.DataFrame:
        """Return the ratings to be split.

        Raises:
            DataError: See `prepare`.
        """
        ratings = tables.transactions
        classes = ratings["rating"]
        if len(ratings) < HELD_OUT:
            raise DataError(f"{tables.name}: fewer ratings than the {HELD_OUT} that are needed")
        if classes.min() < 0 or classes.max() >= self.settings.classes:
            raise DataError(f"{tables.name}: a rating is outside 0..{self.settings.classes - 1}")
        if not ratings["customer"].between(0, facts.customers - 1).all():
            raise DataError(f"{tables.name}: a customer is outside 0..{facts.customers - 1}")
        return ratings

    def split(self, columns: Batch) -> dict[Split, Batch]:
        """Split at random, depending on the number of ratings and never on the run's seed."""
        count = len(columns[0])
        held = count // HELD_OUT
        order = torch.from_numpy(np.random.default_rng([_SPLIT, count]).permutation(count))
        parts: dict[Split, Tensor] = {
            "test": order[:held],
            "validation": order[held : 2 * held],
            "train": order[2 * held :].sort().values,
        }
        return {
            name: tuple(c.index_select(0, rows) for c in columns) for name, rows in parts.items()
        }

    def units(self, training: Batch) -> Examples:
        """Return training examples; each rating is one."""
        return TensorExamples(training)

    def pool(self, members: Sequence[RatingMember], facts: RatingFacts) -> RatingMember:
        """Return all members' ratings, centralized."""
        splits = {name: parts for member in members for name, parts in member.splits.items()}
        training = tuple(
            torch.cat(column) for column in zip(*(s["train"] for s in splits.values()), strict=True)
        )
        return RatingMember(
            name="pooled",
            examples=self.units(training),
            samples=len(training[0]),
            customers=0,
            splits=splits,
        )

    def model(self, facts: RatingFacts, customers: int) -> RatingNcf:
        """Return the tutorial's network; it has no local rows, so `customers` is 0."""
        return RatingNcf(self.settings, facts.customers, len(facts.products))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the cross-entropy of each rating, float [B]."""
        customer, product, rating = batch
        return functional.cross_entropy(model(customer, product), rating, reduction="none")

    def evaluate(
        self, model: nn.Module, member: RatingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Return the accuracy on `split`, and on the training ratings."""
        return {
            name: MetricSums(
                {
                    "accuracy": _accuracy(_predicted(model, parts[split]), parts[split]),
                    "train_accuracy": _accuracy(_predicted(model, parts["train"]), parts["train"]),
                }
            )
            for name, parts in member.splits.items()
        }

    def baseline(self, member: RatingMember, split: Split) -> dict[str, MetricSums]:
        """Predict the most frequent class of the retailer's training ratings."""
        tallies = {}
        for name, parts in member.splits.items():
            frequent = parts["train"][2].mode().values
            tallies[name] = MetricSums(
                {
                    "accuracy": _accuracy(frequent.expand_as(parts[split][2]), parts[split]),
                    "train_accuracy": _accuracy(
                        frequent.expand_as(parts["train"][2]), parts["train"]
                    ),
                }
            )
        return tallies


def _columns(ratings: pd.DataFrame, facts: RatingFacts) -> Batch:
    """Return customers, products as rows of the catalogue, and classes, int64 [N] each."""
    columns = (
        ratings["customer"].to_numpy(np.int64),
        np.searchsorted(facts.products, ratings["product"].to_numpy(np.int64)),
        ratings["rating"].to_numpy(np.int64),
    )
    return tuple(torch.from_numpy(column.copy()) for column in columns)


def _predicted(model: nn.Module, part: Batch) -> Tensor:
    """Return the most likely class of each rating, int64 [N]."""
    customers, products, _ = part
    chunks = [
        model(customers[start : start + _CHUNK], products[start : start + _CHUNK]).argmax(dim=1)
        for start in range(0, len(customers), _CHUNK)
    ]
    return torch.cat(chunks)


def _accuracy(predicted: Tensor, part: Batch) -> Ratio:
    rating = part[2]
    return Ratio(float((predicted == rating).sum()), float(len(rating)))


class PrivateRatingTask(RatingTask):
    """Predicts the class of a rating; an example is a privacy unit, a rating or a customer."""

    def usable(self, tables: RetailerTables, facts: RatingFacts) -> pd.DataFrame:
        """Return the ratings of agreed customers, products and classes; others are left out.

        Each by itself: a refusal of the table would tell that one customer is in it.
        """
        ratings = tables.transactions
        agreed = ratings["rating"].between(0, self.settings.classes - 1)
        agreed &= ratings["customer"].between(0, facts.customers - 1)
        agreed &= ratings["product"].isin(facts.products)
        return ratings[agreed]

    def split(self, columns: Batch) -> dict[Split, Batch]:
        """Split by a hash of each rating, so that no rating's split depends on the others."""
        customer, product, _ = (column.numpy() for column in columns)
        share = torch.from_numpy(
            (pair_hash(customer, product) % np.uint64(HELD_OUT)).astype(np.int64)
        )
        parts = {name: share == number for number, name in _SHARES}
        parts["train"] = share >= len(_SHARES)
        return {name: tuple(column[rows] for column in columns) for name, rows in parts.items()}

    def unit_scores(self, model: nn.Module, member: RatingMember, split: Split) -> UnitSums:
        """See `Task.unit_scores`; by customer, or by rating, at most so many of a customer."""
        customer, product, rating = member.splits[member.name][split]
        places = torch.arange(len(rating))[:, None]
        # One at a time: a row of a batch may differ in its last bit with the rows beside it.
        found = [model(customer[place], product[place]).argmax(dim=1) for place in places]
        hits = (torch.cat([rating[:0], *found]) == rating).double().numpy()
        ones = np.ones(len(hits))
        owners = customer.numpy()
        if self.config.privacy.unit == "record":
            # As many as of the training ratings: what is said of a whole customer rests on it.
            most = self.config.privacy.records_per_customer
            kept = unique_per_slot(owners, product.numpy(), most)
            return UnitSums({"accuracy": hits[kept]}, {"cases": ones[kept]})
        return UnitSums({"accuracy": by_unit(owners, hits)}, {"cases": by_unit(owners, ones)})

    def units(self, training: Batch) -> Examples:
        """Return single ratings, or customers with their ratings."""
        privacy = self.config.privacy
        if privacy.unit == "customer":
            return UserBatches.of(training[0], training, privacy.interactions)
        # One customer has at most `records_per_customer` records, so that group privacy over them
        # bounds what the release says of a customer.
        customer, product, _ = (column.numpy() for column in training)
        counts = unique_per_slot(customer, product, privacy.records_per_customer)
        return TensorExamples(tuple(column[torch.from_numpy(counts)] for column in training))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the cross-entropy of each rating, or its mean over each customer, float [B]."""
        if self.config.privacy.unit == "record":
            return super().loss(model, batch)
        customer, product, rating, present = batch
        logits = model(customer, product)
        each = functional.cross_entropy(logits.mT, rating, reduction="none") * present
        return each.sum(dim=1) / present.sum(dim=1).clamp(min=1)
