"""The power of the attack: every planted bug is found by its finding, and no honest run is."""

import pytest

from securefl.audit.attacks import findings
from support.planted_bugs import SEEDS, TABLE, attacked

QUICK = [row for row in TABLE if row.finding != findings.AS_NUMBERS]
"""The others have quick tests in `test_planted_bugs`."""


@pytest.mark.slow
@pytest.mark.parametrize("row", QUICK, ids=lambda row: row.bug)
def test_planted_bug_is_found(row):
    """One seed; where the bug is none, the claim holds."""
    assert row.found(attacked(row, 200, canaries=4000)) == (row.least > 0)


@pytest.mark.slow
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.bug)
def test_planted_bug_is_found_in_20_seeds(row):
    found = sum(row.found(attacked(row, seed)) for seed in SEEDS)
    assert row.least <= found <= row.most


@pytest.mark.slow
def test_median_bound_of_honest_runs_is_near_the_claim():
    """Also where members share the noise, and in noised series."""
    for row in TABLE:
        bounds = sorted(attacked(row, seed).lower_bound or 0 for seed in SEEDS if not row.least)
        if bounds and bounds[-1] > 0:
            assert bounds[len(bounds) // 2] >= 3.4, row.finding
