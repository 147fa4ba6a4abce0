"""The federation and its references, scored on the same test cases."""

from __future__ import annotations

from securefl.federation.coordinator.rounds import (
    Federation,
    RoundState,
    evaluate_best,
    evaluate_naive,
    evaluate_noised_naive,
    evaluate_released,
)
from securefl.federation.messages import messages as m
from securefl.federation.runs.prepare import POOLED, Prepared
from securefl.ml.metrics.sums import Tally
from securefl.privacy.mechanisms import mechanism_for

Arms = dict[str, dict[str, Tally]]
"""Arm to member to metric sums on the member's test cases."""


def request_pooled(federation: Federation, prepared: Prepared) -> None:
    """Have the arm with all data in one place train beside the rounds, which take their time."""
    if prepared.config.references.enabled:
        start = m.pack_vector(prepared.shared)
        federation.exchange.request(POOLED, m.TrainAlone(arm="pooled", shared=start))


def evaluate_arms(federation: Federation, prepared: Prepared, state: RoundState) -> Arms:
    """Every arm on the test split, by member."""
    arms: Arms = {"federated": evaluate_best(federation, state, "test")}
    if prepared.config.references.enabled:
        arms["alone"] = _alone(federation, prepared)
        pooled = federation.exchange.collect([POOLED], m.Alone)[POOLED]
        tallies = m.unpack_tallies(pooled.tallies)
        arms["pooled"] = {name: tallies[name] for name in federation.members}
    if mechanism_for(prepared.config.privacy).private:
        arms["released"] = evaluate_released(federation, state)
        if prepared.task.noised_rule is not None:
            arms[prepared.task.noised_rule] = evaluate_noised_naive(federation)
    arms["naive"] = evaluate_naive(federation, "test")
    return arms


def _alone(federation: Federation, prepared: Prepared) -> dict[str, Tally]:
    request = m.TrainAlone(arm="alone", shared=m.pack_vector(prepared.shared))
    answers = federation.exchange.ask_all(federation.members, request, m.Alone)
    return {name: m.unpack_tallies(answer.tallies)[name] for name, answer in answers.items()}
