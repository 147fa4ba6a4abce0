"""Small runs under distributed differential privacy."""

import numpy as np
import pytest

from securefl.config.load import load_config, merge
from securefl.consortium.agreement.context import Consortium
from securefl.federation.aggregation.secure import SecureAggregator
from securefl.federation.runs.agreement import read_agreement, read_run
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run

SHARED_NOISE = {
    "mode": "secure",
    "model": {"name": "profile", "rank": 2},
    "privacy": {
        "dp": "distributed",
        "epsilon": 3.0,
        "delta": 1e-3,
        "sampling_rate": 1.0,
        "expected_batch": 20.0,
        "steps": 1,
    },
}


@pytest.fixture
def config(purchases):
    """Makes the configuration of a run under noise shares."""

    def make(**changes):
        return load_config(None, merge({**purchases, "model": {}}, merge(SHARED_NOISE, changes)))

    return make


@pytest.fixture
def finished(tmp_path, config):
    """Runs it."""

    def make(name="run", observer=None, **changes):
        make.path = tmp_path / name
        directory = RunDirectory.create(make.path, config(**changes))
        return run(directory, observer=observer), directory

    return make


@pytest.fixture
def sums_seen():
    """Notes the integer sums that the coordinator decodes."""
    return SumsSeen()


class SumsSeen:
    def __init__(self):
        self.totals = []

    def integers(self):
        """What was summed in each round, int64, without loss and weight."""
        forms = [seen.terms.encoding for seen in self.totals]
        return [
            seen.total.view(form.ring.signed_dtype)[: -form.tail].astype(np.int64)
            for seen, form in zip(self.totals, forms, strict=True)
        ]

    def observe(self, aggregator, transport):
        del transport
        decode = SecureAggregator.decoded
        seen = self

        class Watched(type(aggregator)):
            def decoded(self, result):
                seen.totals.append(result)
                return decode(result)

        aggregator.__class__ = Watched
        return aggregator

    def rounds_ended(self, federation):
        del federation


@pytest.fixture
def consortium():
    """Who took part in a run, from its directory."""
    return lambda directory: Consortium(read_agreement(directory), read_run(directory))
