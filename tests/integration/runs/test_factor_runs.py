"""Factors of products in whole runs: through masks, under exact accounting, to what is served."""

import numpy as np
import pytest

from securefl.audit.export import audit_run
from securefl.federation.member.updates.distributed_dp import RELEASE
from securefl.ml.tensor_io import read_tensors
from securefl.privacy.encoding.gradients import fraction_bits

pytestmark = pytest.mark.slow
NAMES = ["north", "south", "west", "east"]
PRODUCTS = {"model": {"learns": "products", "dim": 4}}


def test_the_masked_sum_is_that_of_the_integers(finished, config, sums_seen):
    """Of all four members' noised integers, to the last; with the price of any other steps."""
    result, directory = finished(observer=sums_seen, **PRODUCTS)
    privacy = config(**PRODUCTS).privacy
    every = []
    for name in NAMES:
        tensors, _ = read_tensors(directory.member_path(name) / RELEASE)
        share = tensors["share"].numpy()
        every.append(np.rint(np.ldexp(share, fraction_bits(privacy, len(share)))))
    assert np.array_equal(np.sum(every, axis=0), sums_seen.integers()[-1])
    assert {"federated", "released"} <= set(result.metrics)
    for member in result.to_json()["privacy"]["members"]:
        assert member["steps"] == 3
        assert 2.9 < member["epsilon"] <= 3.0
    audit = audit_run(directory.path)
    assert audit.verdict == "pass", [c for c in audit.checks if c.verdict != "pass"]


def test_factors_under_each_ones_own_noise_end_a_run(finished):
    """The other protection, by the same configuration."""
    privacy = {"dp": "local", "sampling_rate": 1.0}
    result, _ = finished(**PRODUCTS, privacy=privacy)
    assert 0 < result.metrics["released"]["hr@10"] <= 1
