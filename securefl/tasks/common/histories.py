"""Purchase histories as compact tensors: an example is a customer with their whole history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from securefl.ml.batches import Batch
from securefl.ml.metrics.ranking import parts_of


@dataclass(frozen=True)
class Histories:
    """The purchases of n customers, one after the other.

    Attributes:
        start: Offset of each customer's part, int64 [n + 1].
        items: Products, int32 [P].
        weights: Weight of each purchase, float32 [P], above 0.
        baskets: Discovery basket of the customer in which it was bought first, int32 [P].
    """

    start: Tensor
    items: Tensor
    weights: Tensor
    baskets: Tensor

    def __len__(self) -> int:
        return len(self.start) - 1

    def at(self, rows: Tensor) -> Histories:
        """Return the histories of some customers, in the order of `rows`, int64 [m]."""
        start, place = parts_of(self.start, rows)
        columns = [field.name for field in fields(self) if field.name != "start"]
        return replace(self, start=start, **{name: getattr(self, name)[place] for name in columns})

    def padded(self, index: Tensor, width: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the histories at `index` (int64 [B]): items int64 [B, K], weights float32 [B, K].

        K is `width`, or the longest of these histories; weight 0 is padding.
        """
        position, inside = self._places(index, width)
        return self.items[position].long() * inside, self.weights[position] * inside

    def padded_baskets(self, index: Tensor, width: int | None = None) -> Tensor:
        """Return the baskets of the purchases in `padded`, int64 [B, K]; 0 at padding."""
        position, inside = self._places(index, width)
        return self.baskets[position].long() * inside

    def sizes(self) -> Tensor:
        """Return the number of purchases of each customer, int64 [n]."""
        return self.start.diff()

    def _places(self, index: Tensor, width: int | None) -> tuple[Tensor, Tensor]:
        """Return positions of the purchases of the customers at `index` and their mask, [B, K]."""
        begin, lengths = self.start[index], self.sizes()[index]
        longest = int(lengths.max()) if len(index) else 0
        column = torch.arange(longest if width is None else width)
        inside = column[None, :] < lengths[:, None]
        position = (begin[:, None] + column[None, :]).clamp(max=max(len(self.items) - 1, 0))
        return position, inside


@dataclass(frozen=True)
class CustomerExamples:
    """Customers as training examples.

    Attributes:
        histories: What each customer bought.
        home: Row of `prior` that belongs to each customer's retailer, int64 [n].
        prior: Each retailer's own known part of the scores, float32 [R, I]; R is 1 at a member.
    """

    histories: Histories
    home: Tensor
    prior: Tensor

    def __len__(self) -> int:
        return len(self.histories)

    def sizes(self) -> Tensor:
        """See `SizedExamples.sizes`."""
        return self.histories.sizes()

    def batch(self, index: Tensor) -> Batch:
        """Return a batch of customers, K wide as the longest history; see `sized_batch`."""
        return self.sized_batch(index, None)

    def sized_batch(self, index: Tensor, width: int | None) -> Batch:
        """Return a batch of customers.

        Returns:
            Customers int64 [B], items int64 [B, K], weights float32 [B, K], prior float32 [B, I].
        """
        items, weights = self.histories.padded(index, width)
        return index, items, weights, self.prior[self.home[index]]


@dataclass(frozen=True)
class OrderedExamples(CustomerExamples):
    """Customers with the order of their purchases."""

    @classmethod
    def of(cls, customers: CustomerExamples) -> OrderedExamples:
        """Build them from the same customers without order."""
        return cls(customers.histories, customers.home, customers.prior)

    def sized_batch(self, index: Tensor, width: int | None) -> Batch:
        """Return the unordered batch and the baskets of the purchases, int64 [B, K]."""
        baskets = self.histories.padded_baskets(index, width)
        return *super().sized_batch(index, width), baskets


def joined(parts: Sequence[CustomerExamples]) -> CustomerExamples:
    """Concatenate the customers of several retailers, as examples of the first part's class."""
    starts, homes, purchases, rows = [torch.zeros(1, dtype=torch.int64)], [], 0, 0
    for part in parts:
        starts.append(part.histories.start[1:] + purchases)
        homes.append(part.home + rows)
        purchases += len(part.histories.items)
        rows += len(part.prior)
    histories = Histories(
        start=torch.cat(starts),
        items=torch.cat([part.histories.items for part in parts]),
        weights=torch.cat([part.histories.weights for part in parts]),
        baskets=torch.cat([part.histories.baskets for part in parts]),
    )
    prior = torch.cat([part.prior for part in parts])
    return replace(parts[0], histories=histories, home=torch.cat(homes), prior=prior)
