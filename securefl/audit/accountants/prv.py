"""The second accountant of runs that were charged by privacy loss distributions: Opacus' PRV.

Gopi, Lee and Wutschitz 2021 (arXiv:2106.02848). It shares no code with `dp_accounting`. It gives
an interval around the true epsilon, whose width is chosen here. The middle is compared: an honest
record, which is an upper bound, is below it by less than half the width.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np

from securefl.audit.accountants.skellam_rdp import Step, renyi_epsilon

_ERROR = 2e-3
"""Half-width of the interval. Its middle errs by far less: by 1e-5 where others know the answer."""
_LARGEST_GRID = 1 << 22
"""Largest number of grid points: a dishonest record must not exhaust the auditor's memory."""
_WIDEST = 0.01
"""Largest half-width that a figure may have: what Opacus takes by itself."""
_MOST_STEPS = 1 << 24
_LARGEST_REACH = 500.0
"""Opacus exponentiates losses: near 709 they overflow, and an epsilon of 1400 came out as 707."""


def installed() -> bool:
    """Return whether Opacus is there; an auditor's own wheel does without it."""
    return find_spec("opacus") is not None


def prv_epsilon(steps: Mapping[Step, int], delta: float) -> float:
    """Return an estimate of epsilon at `delta`, within 0.01 and usually far less.

    Args:
        steps: Number of steps by kind.
        delta: In (0, 1).

    Raises:
        ValueError: If the figure would be wider than that, or the arithmetic breaks down.
    """
    from opacus.accountants import PRVAccountant

    taken = {kind: count for kind, count in steps.items() if count}
    if not taken:
        return 0.0
    spread = delta / 1000
    error = _half_width(taken, delta, spread)
    prv = PRVAccountant()
    prv.history = [(sigma, rate, count) for (sigma, rate), count in taken.items()]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # Full batches have a loss of bounded support, and its range may be wider than it could be.
        warnings.simplefilter("ignore")
        # The bounds at its ends have to be left out: they are as far apart as the error allows.
        law = prv._get_dprv(eps_error=error, delta_error=spread)
        _, epsilon, _ = law.compute_epsilon(delta, spread, error)
    if math.isnan(epsilon):
        raise ValueError("no figure")
    return max(0.0, float(epsilon))


def _half_width(steps: Mapping[Step, int], delta: float, spread: float) -> float:
    """Return the half-width that keeps to the grid: section 5.2 of the paper, solved for it."""
    count = sum(steps.values())
    if count > _MOST_STEPS:
        raise ValueError(f"{count} steps are too many")
    # The grid reaches to the loss beyond which almost no mass is; Renyi bounds say where.
    reach = 2 + renyi_epsilon(steps, spread / 24)
    if not reach <= _LARGEST_REACH:
        raise ValueError("so much loss is beyond floating-point numbers")
    least = 2 * reach * math.sqrt(count * math.log(12 / spread) / 2) / _LARGEST_GRID
    if not least <= _WIDEST:
        raise ValueError(f"a grid of {_LARGEST_GRID} points is too coarse for so much loss")
    return max(_ERROR, least)
