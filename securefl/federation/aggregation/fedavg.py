"""Mode `plain`: FedAvg without masks, the baseline. The coordinator sees every member's change."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.base import Aggregate
from securefl.federation.aggregation.model_proofs import ModelProof
from securefl.federation.transport.exchange import Exchange, failed, none_left
from securefl.ml.vectors import FloatVector


class PlainAggregator:
    """Collects the changes in the clear and averages them by sample count."""

    def aggregate(
        self, exchange: Exchange, round_number: int, shared: FloatVector, cohort: tuple[str, ...]
    ) -> Aggregate:
        """See `Aggregator.aggregate`."""
        request = m.Train(round=round_number, shared=m.pack_vector(shared))
        replies = exchange.replies(dict.fromkeys(cohort, request))
        updates = _updates(replies)
        if not updates:
            raise none_left(round_number, replies)
        return weighted_mean(updates, shared.shape[0])

    def hand_over(self, proof: ModelProof, moments: bytes, known_to: Collection[str]) -> None:
        """See `Aggregator.hand_over`; in the clear, no member verifies a sum."""


def _updates(replies: Mapping[str, m.Message]) -> dict[str, m.Update]:
    """Return the survivors' updates; a failure ends the run, an absence or a refusal does not."""
    updates = {}
    for name, reply in replies.items():
        if isinstance(reply, m.Update):
            updates[name] = reply
        elif not isinstance(reply, m.Absent | m.Refused):
            raise failed(name, reply)
    return updates


def weighted_mean(updates: Mapping[str, m.Update], dimension: int) -> Aggregate:
    """Return `sum(w_i * change_i) / sum(w_i)` with sample counts as weights (McMahan et al. 2017).

    Args:
        updates: Member to its update; changes are float32 [d].
        dimension: d.

    Raises:
        SecureflError: If no sample is left, or a change has another length.
    """
    samples = sum(update.samples for update in updates.values())
    if samples == 0:
        raise SecureflError("the cohort has no samples to average over")
    # In float64 and in roster order: a float sum depends on its order, and the same seed is to give
    # the same bits.
    total = np.zeros(dimension)
    loss = 0.0
    for name, update in updates.items():
        change = m.unpack_vector(update.change)
        if change.shape != total.shape:
            raise SecureflError(f"{name} sent {change.shape[0]} coordinates, not {dimension}")
        total += np.float64(update.samples) * change
        loss += update.samples * update.loss
    return Aggregate(total / samples, samples, loss / samples, tuple(updates))
