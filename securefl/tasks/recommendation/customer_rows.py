"""Which row of a model belongs to which customer, without their numbers: keyed hashes."""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int64]

_LABEL: Final = b"securefl/1/customer"
_LENGTH: Final = 16
"""Bytes of a hash: two of a billion customers share one with a probability below 1e-20."""
KEY_LENGTH: Final = 32


@dataclass(frozen=True)
class CustomerRows:
    """The customers of a model's rows.

    Attributes:
        key: Secret key of the hashes, 32 bytes. Without it a list of all customers' numbers would
            tell who is in the model.
        hashes: Hash of each row's customer, uint8 [n, 16].
    """

    key: bytes = field(repr=False)
    hashes: Tensor

    @classmethod
    def of(cls, customers: Ints) -> CustomerRows:
        """Return those of customers, int64 [n], under a new key."""
        key = os.urandom(KEY_LENGTH)
        octets = b"".join(_hash(key, customer) for customer in customers.tolist())
        hashes = np.frombuffer(octets, dtype=np.uint8).reshape(-1, _LENGTH).copy()
        return cls(key, torch.from_numpy(hashes))

    def __post_init__(self) -> None:
        if len(self.key) != KEY_LENGTH or self.hashes.dtype != torch.uint8:
            raise ValueError("no hashes of customers")
        if self.hashes.ndim != 2 or self.hashes.shape[1] != _LENGTH:
            raise ValueError("the hashes of customers have another length")

    def __len__(self) -> int:
        return len(self.hashes)

    def of_customers(self, customers: Ints) -> Ints:
        """Return the row of each customer, int64 [m]; n for those that have none."""
        rows = [self._rows.get(_hash(self.key, one), len(self)) for one in customers.tolist()]
        return np.array(rows, dtype=np.int64)

    @cached_property
    def _rows(self) -> dict[bytes, int]:
        return {row.tobytes(): place for place, row in enumerate(self.hashes.numpy())}


def _hash(key: bytes, customer: int) -> bytes:
    message = _LABEL + customer.to_bytes(8, "little", signed=True)
    return hmac.new(key, message, hashlib.sha256).digest()[:_LENGTH]
