"""The federation and its baselines, scored on the same test cases."""

from __future__ import annotations

from securefl.federation import messages as m
from securefl.federation.coordinator.rounds import (
    Federation,
    RoundState,
    evaluate_baseline,
    evaluate_best,
    evaluate_noised_baseline,
    evaluate_released,
)
from securefl.federation.runs.prepare import POOLED, Prepared
from securefl.ml.metrics.sums import MetricSums
from securefl.privacy.mechanisms import mechanism_for

Arms = dict[str, dict[str, MetricSums]]
"""Arm (the federation or a baseline) to member to metric sums on the member's test cases."""


def request_pooled(federation: Federation, prepared: Prepared) -> None:
    """Start the training of the centralized baseline, which runs concurrently with the rounds."""
    if prepared.config.references.enabled:
        start = m.pack_vector(prepared.shared)
        federation.exchange.request(POOLED, m.LocalOnlyRequest(arm="pooled", shared=start))


def evaluate_arms(federation: Federation, prepared: Prepared, state: RoundState) -> Arms:
    """Return the metric sums of every arm on the test split, by member."""
    arms: Arms = {"federated": evaluate_best(federation, state, "test")}
    if prepared.config.references.enabled:
        arms["alone"] = _alone(federation, prepared)
        pooled = federation.exchange.collect([POOLED], m.LocalOnlyResult)[POOLED]
        tallies = m.unpack_tallies(pooled.tallies)
        arms["pooled"] = {name: tallies[name] for name in federation.members}
    if mechanism_for(prepared.config.privacy).private:
        arms["released"] = evaluate_released(federation, state)
        if prepared.task.noised_baseline_name is not None:
            arms[prepared.task.noised_baseline_name] = evaluate_noised_baseline(federation)
    arms["naive"] = evaluate_baseline(federation, "test")
    return arms


def _alone(federation: Federation, prepared: Prepared) -> dict[str, MetricSums]:
    request = m.LocalOnlyRequest(arm="alone", shared=m.pack_vector(prepared.shared))
    answers = federation.exchange.ask_all(federation.members, request, m.LocalOnlyResult)
    return {name: m.unpack_tallies(answer.tallies)[name] for name, answer in answers.items()}
