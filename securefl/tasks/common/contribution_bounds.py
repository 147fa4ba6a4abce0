"""Units with a public bound on what one customer brings in.

Whatever is chosen here is chosen from one customer's own rows, by coins of its own, so that no
customer changes what another one brings in.
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
from securefl.tasks.common.splits import Ints, pair_hash


@dataclass(frozen=True)
class UserBatches:
    """Rows by customer: a unit is a customer with at most `limit` of her rows, drawn each time.

    Attributes:
        start: Where each customer's rows begin, int64 [n + 1].
        columns: The rows, customer by customer, [P, ...] each.
        limit: Most rows k of a unit.
    """

    start: Tensor
    columns: tuple[Tensor, ...]
    limit: int

    @classmethod
    def of(cls, owner: Tensor, columns: tuple[Tensor, ...], limit: int) -> UserBatches:
        """Rows in any order, `owner` (int64 [P]) saying whose each is."""
        order = torch.argsort(owner, stable=True)
        counts = torch.unique(owner, return_counts=True)[1]
        start = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
        return cls(start, tuple(column[order] for column in columns), limit)

    @classmethod
    def joined(cls, parts: Sequence[UserBatches]) -> UserBatches:
        """The customers of several retailers, one retailer after the other."""
        rows = [0, *accumulate(int(part.start[-1]) for part in parts)]
        starts = [part.start[1:] + before for part, before in zip(parts, rows, strict=False)]
        return cls(
            torch.cat([parts[0].start[:1], *starts]),
            tuple(torch.cat(c) for c in zip(*(part.columns for part in parts), strict=True)),
            parts[0].limit,
        )

    def __len__(self) -> int:
        return len(self.start) - 1

    def batch(self, index: Tensor) -> Batch:
        """The columns, [B, k, ...] each, and a mask, bool [B, k], for customers int64 [B]."""
        begin, lengths = self.start[index], (self.start[1:] - self.start[:-1])[index]
        slots = torch.arange(int(lengths.max()) if len(index) else 0)
        present = slots[None, :] < lengths[:, None]
        position = (begin[:, None] + slots[None, :]) * present
        position, present = sample_rows(position, present, self.limit)
        return *(column[position] for column in self.columns), present


def sample_rows(values: Tensor, present: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """At most `limit` of the present values of each row, each as likely as any other.

    Args:
        values: [B, K].
        present: Which of them there are, bool [B, K].
        limit: k.

    Returns:
        Values and which of them are present, both [B, min(K, k)].
    """
    if values.shape[1] <= limit:
        return values, present
    order = torch.where(present, torch.rand(values.shape), 2.0).argsort(dim=1)[:, :limit]
    return values.gather(1, order), present.gather(1, order)


def unique_per_slot(customer: Ints, item: Ints, slots: int) -> npt.NDArray[np.bool_]:
    """Which records count if each customer has `slots` slots, and a slot holds one record or none.

    A record's slot is a hash of its customer and its item. Two records in one slot do not count,
    so that one record more or less changes what counts by one record: it counts itself, or it
    pushes another one out, or neither. Keeping the first few instead would change two.

    Args:
        customer: Whose each record is, int64 [P].
        item: What it is about, int64 [P].
        slots: Most records of a customer.

    Returns:
        A mask, bool [P]; at most `slots` records of a customer count.
    """
    slot = (pair_hash(customer, item) % np.uint64(slots)).astype(np.int64)
    place = np.unique(np.stack([customer, slot]), axis=1, return_inverse=True)[1].reshape(-1)
    counts: npt.NDArray[np.bool_] = np.bincount(place)[place] == 1
    return counts
