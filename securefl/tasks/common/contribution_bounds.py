"""Privacy units with a public bound on one customer's contribution.

Every choice made here looks at one customer's own rows and uses random draws of its own, so that
no customer changes another one's contribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from securefl.ml.batches import Batch
from securefl.tasks.common.purchase_lines import Ints, pair_hash


@dataclass(frozen=True)
class UserBatches:
    """User-level batches: an example is a customer with at most `limit` sampled rows.

    Attributes:
        start: Where each customer's rows begin, int64 [n + 1].
        columns: The rows, customer by customer, [P, ...] each.
        limit: Largest number of rows k of a customer; resampled for every batch.
    """

    start: Tensor
    columns: tuple[Tensor, ...]
    limit: int

    @classmethod
    def of(cls, owner: Tensor, columns: tuple[Tensor, ...], limit: int) -> UserBatches:
        """Group rows in any order by their customer, `owner` (int64 [P])."""
        order = torch.argsort(owner, stable=True)
        counts = torch.unique(owner, return_counts=True)[1]
        start = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
        return cls(start, tuple(column[order] for column in columns), limit)

    @classmethod
    def joined(cls, parts: Sequence[UserBatches]) -> UserBatches:
        """Concatenate the customers of several retailers."""
        rows = [0, *accumulate(int(part.start[-1]) for part in parts)]
        starts = [part.start[1:] + before for part, before in zip(parts, rows, strict=False)]
        return cls(
            torch.cat([parts[0].start[:1], *starts]),
            tuple(torch.cat(c) for c in zip(*(part.columns for part in parts), strict=True)),
            parts[0].limit,
        )

    def __len__(self) -> int:
        return len(self.start) - 1

    def sizes(self) -> Tensor:
        """See `SizedExamples.sizes`."""
        return self.start.diff()

    def batch(self, index: Tensor) -> Batch:
        """Return a batch of customers, as wide as the largest of them; see `sized_batch`."""
        return self.sized_batch(index, int(self.sizes()[index].max()) if len(index) else 0)

    def sized_batch(self, index: Tensor, width: int) -> Batch:
        """Return the columns [B, k, ...] and a mask, bool [B, k], of the customers int64 [B]."""
        slots = torch.arange(width)
        present = slots[None, :] < self.sizes()[index][:, None]
        # Padding repeats the customer's own first row. Another customer's row would do harm even
        # where it counts 0 times: its loss can be infinite, and 0 times that is no number.
        position = self.start[index][:, None] + slots[None, :] * present
        position, present = sample_rows(position, present, self.limit)
        return *(column[position] for column in self.columns), present


def sample_rows(values: Tensor, present: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Sample at most `limit` of the present values of each row, uniformly without replacement.

    Args:
        values: [B, K].
        present: Mask of the values that exist, bool [B, K].
        limit: k.

    Returns:
        Values and their mask, both [B, min(K, k)].
    """
    if values.shape[1] <= limit:
        return values, present
    # An absent value's key exceeds every random key in [0, 1), so that it is taken last.
    order = torch.where(present, torch.rand(values.shape), 2.0).argsort(dim=1)[:, :limit]
    return values.gather(1, order), present.gather(1, order)


def unique_per_slot(customer: Ints, item: Ints, slots: int) -> npt.NDArray[np.bool_]:
    """Return which records are kept if each of a customer's `slots` slots holds at most one.

    A record's slot is a hash of its customer and its item; records that share a slot are all
    dropped. So adding or removing one record changes the kept set by at most one record: itself,
    or one that it collides with. Keeping the first few records instead could change two.

    Args:
        customer: Customer of each record, int64 [P].
        item: Item of each record, int64 [P].
        slots: Largest number of kept records of a customer.

    Returns:
        A mask, bool [P].
    """
    slot = (pair_hash(customer, item) % np.uint64(slots)).astype(np.int64)
    place = np.unique(np.stack([customer, slot]), axis=1, return_inverse=True)[1].reshape(-1)
    counts: npt.NDArray[np.bool_] = np.bincount(place)[place] == 1
    return counts
