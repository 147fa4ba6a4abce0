"""How good probabilities of a yes or no are: ranking, size and calibration, as sums that add up.

A case is one customer at one moment. Every figure is computed within one retailer; what is added
over retailers is numerators and denominators.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import scipy  # which imports its parts when they are used

from securefl.ml.metrics.sums import MetricSums, Ratio
from securefl.ml.metrics.unit_sums import UnitSums, by_unit

Scores = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]
Owners = npt.NDArray[np.int64]

BINS: Final = 10
"""Bins of equal width, from probability 0 to 1."""


def classification_tally(logits: Scores, truth: Truths) -> MetricSums:
    """Return all metrics of one retailer's cases.

    Over several retailers, `auc` is the share of all pairs of a case that came true and one that
    did not, both of the same retailer, in which the former has the higher score: a retailer counts
    by its number of pairs. `average_precision` is the mean over all cases that came true of the
    precision at their place in their retailer's list; each such case counts the same.
    `calibration_error` is the mean of the retailers' own, weighted by cases.

    Args:
        logits: Log-odds, float64 [N].
        truth: What happened, bool [N].

    Raises:
        ValueError: If the two differ in shape.
    """
    if logits.shape != truth.shape:
        raise ValueError(f"{logits.shape} scores for {truth.shape} cases")
    cases, positive = float(truth.size), float(truth.sum())
    chance = scipy.special.expit(logits)
    loss = _log_loss(logits, truth)
    return MetricSums(
        {
            "auc": Ratio(pairs_won(logits, truth), positive * (cases - positive)),
            "average_precision": Ratio(summed_precision(logits, truth), positive),
            "log_loss": Ratio(float(loss.sum()), cases),
            "brier": Ratio(float(np.square(chance - truth).sum()), cases),
            "calibration_error": Ratio(miscalibration(chance, truth), cases),
        }
    )


def classification_units(logits: Scores, truth: Truths, owners: Owners) -> UnitSums:
    """Return what each owner's cases add to `log_loss` and `brier`.

    The other metrics rank cases against each other, so that one case has no part of its own.

    Args:
        logits: Log-odds, float64 [N].
        truth: What happened, bool [N].
        owners: The unit of each case, int64 [N].
    """
    parts = {
        "log_loss": _log_loss(logits, truth),
        "brier": np.square(scipy.special.expit(logits) - truth),
    }
    return UnitSums(
        {name: by_unit(owners, part) for name, part in parts.items()},
        {"cases": by_unit(owners, np.ones(len(owners)))},
    )


def _log_loss(logits: Scores, truth: Truths) -> Scores:
    """Return each case's surprise, float64 [N]; no number where the log-odds are none."""
    with np.errstate(invalid="ignore"):  # weights that a coordinator made up
        found: Scores = np.logaddexp(0, np.where(truth, -logits, logits))
    return found


def pairs_won(scores: Scores, truth: Truths) -> float:
    """Pairs in which the case that came true has the higher score; equal scores count one half.

    From the ranks (Mann and Whitney 1947): U = sum of the ranks of the true cases - P (P + 1) / 2.
    """
    positive = float(truth.sum())
    return float(scipy.stats.rankdata(scores)[truth].sum()) - positive * (positive + 1) / 2


def summed_precision(scores: Scores, truth: Truths) -> float:
    """Sum over the true cases of the share of true ones among all that score at least as much.

    Over the number of true cases this is average precision, the sum of the precision at each
    threshold times the gain in recall (Manning et al. 2008, section 8.4). Equal scores share one
    place, the last of them.
    """
    at_least = len(scores) + 1 - scipy.stats.rankdata(scores, method="min")[truth]
    true_at_least = truth.sum() + 1 - scipy.stats.rankdata(scores[truth], method="min")
    return float((true_at_least / at_least).sum())


def miscalibration(chance: Scores, truth: Truths) -> float:
    """Return sum over bins of how far the expected number of true cases is off the real one.

    Over the number of cases this is the expected calibration error (Naeini et al. 2015).
    """
    place = np.minimum((chance * BINS).astype(np.int64), BINS - 1)
    return float(np.abs(np.bincount(place, chance - truth, minlength=BINS)).sum())
