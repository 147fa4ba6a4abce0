"""Mode `plain`: FedAvg without masks, the baseline. The coordinator sees every member's change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.base import Aggregate
from securefl.federation.aggregation.model_proofs import ModelProof
from securefl.federation.transport.exchange import (
    Exchange,
    MemberFailedError,
    failed,
    none_left,
)
from securefl.ml.vectors import FloatVector

_LARGEST_LOSS: Final = 1e30
"""A mean loss beyond it is no loss, and its product with a sample count could overflow."""


class PlainAggregator:
    """Collects the changes in the clear and averages them by sample count."""

    def aggregate(
        self, exchange: Exchange, round_number: int, shared: FloatVector, cohort: tuple[str, ...]
    ) -> Aggregate:
        """See `Aggregator.aggregate`."""
        request = m.Train(round=round_number, shared=m.pack_vector(shared))
        replies = exchange.replies(dict.fromkeys(cohort, request))
        updates = _updates(exchange, replies, round_number, shared.shape[0])
        if not updates:
            raise none_left(round_number, replies)
        return weighted_mean(updates, shared.shape[0])

    def hand_over(self, proof: ModelProof, moments: bytes, known_to: Collection[str]) -> None:
        """See `Aggregator.hand_over`; in the clear, no member verifies a sum."""


def _updates(
    exchange: Exchange, replies: Mapping[str, m.Message], number: int, dimension: int
) -> dict[str, m.Update]:
    """Return the survivors' updates; the exchange decides what an answer that is none means."""
    updates = {}
    for name, reply in replies.items():
        if isinstance(reply, m.Absent | m.Refused):
            continue
        try:
            updates[name] = _checked(name, reply, number, dimension)
        except SecureflError as error:
            exchange.leave_out(name, error)
    return updates


def _checked(name: str, reply: m.Message, number: int, dimension: int) -> m.Update:
    """Return a member's update of a round.

    Raises:
        SecureflError: If it is none, or would spoil the mean of all members.
    """
    if not isinstance(reply, m.Update):
        raise failed(name, reply)
    if reply.round != number:
        raise MemberFailedError(f"{name} sent an update of round {reply.round}, not {number}")
    length = m.unpack_vector(reply.change).shape[0]
    if length != dimension:
        raise MemberFailedError(f"{name} sent {length} coordinates, not {dimension}")
    if not abs(reply.loss) <= _LARGEST_LOSS:  # neither is NaN
        raise MemberFailedError(f"{name} sent a loss that is not a number or beyond range")
    return reply


def weighted_mean(updates: Mapping[str, m.Update], dimension: int) -> Aggregate:
    """Return `sum(w_i * change_i) / sum(w_i)` with sample counts as weights (McMahan et al. 2017).

    Args:
        updates: Member to its update, as checked; changes are float32 [d].
        dimension: d.

    Raises:
        SecureflError: If no sample is left.
    """
    samples = sum(update.samples for update in updates.values())
    if samples == 0:
        raise SecureflError("the cohort has no samples to average over")
    # In float64 and in roster order: a float sum depends on its order, and the same seed is to give
    # the same bits.
    total = np.zeros(dimension)
    loss = 0.0
    for update in updates.values():
        change = m.unpack_vector(update.change)
        total += np.float64(update.samples) * change
        loss += update.samples * update.loss
    return Aggregate(total / samples, samples, loss / samples, tuple(updates))
