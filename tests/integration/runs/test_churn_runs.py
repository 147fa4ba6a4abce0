"""Churn from end to end on generated shoppers: every mode, its report, its audit, its attack."""

import numpy as np
import pytest

from securefl.audit.attacks.run import attacked, on_customers
from securefl.audit.export import audit_run
from securefl.audit.report.page import write_report
from securefl.config.load import load_config, merge
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare
from securefl.federation.runs.run import run
from securefl.federation.runs.summary import summarise
from securefl.ml.tensor_io import read_tensors

SMALL = {
    "task": "churn",
    "rounds": 3,
    "data": {"source": "tutorial", "customers": 60, "lines": [15, 90]},
    "references": {"enabled": False},
    "engine": {"workers": 1},
}
BUDGET = {"epsilon": 4.0, "sampling_rate": 1.0, "expected_batch": 50.0, "steps": 1}


def configured(**changes):
    return load_config(None, merge(SMALL, changes))


@pytest.fixture
def small_churn(tmp_path):
    def make(name, **changes):
        directory = RunDirectory.create(tmp_path / name, configured(**changes))
        return run(directory), directory

    return make


def weights(directory):
    tensors, _ = read_tensors(directory.model_path)
    return np.concatenate([tensor.ravel() for tensor in tensors.values()])


def test_masked_training_ends_where_plain_training_ends(small_churn):
    # Lanes wide enough for the bound below; the default ones trade it for bytes.
    secure, masked = small_churn("secure", secure={"bits": 64})
    plain, clear = small_churn("plain", mode="plain")
    assert np.abs(weights(masked) - weights(clear)).max() < 1e-6
    assert secure.metrics["federated"]["auc"] == pytest.approx(plain.metrics["federated"]["auc"])
    assert audit_run(masked.path).exit_code == 0


@pytest.mark.parametrize("dp", ["local", "distributed"])
def test_a_private_run_serves_releases_passes_its_audit_and_becomes_a_page(small_churn, dp):
    result, directory = small_churn(
        "private", privacy={"dp": dp, **BUDGET}, references={"enabled": True}
    )
    found = result.metrics
    assert set(found) == {"federated", "alone", "pooled", "released", "naive"}
    assert 3.9 < result.privacy.largest_epsilon <= 4.0
    assert result.privacy.protects == "everything that one retailer knows of one customer"
    assert audit_run(directory.path).exit_code == 0
    page = write_report(directory.path).read_text(encoding="utf-8")
    assert "Average precision" in page
    assert "Recency alone" in page
    summary = summarise(result)
    assert [table.heading.partition(" (")[0] for table in summary.tables] == [
        *("AUC", "Average precision", "Log loss")
    ]
    assert "customer" in summary.protection


def test_the_attack_on_real_customers_takes_churn_as_well(tmp_path):
    config = configured(privacy={"dp": "local", **BUDGET}, data={"customers": 80})
    learner = attacked(prepare(config))
    private, bare = on_customers(learner, tmp_path)
    assert private.claim == pytest.approx(4.0, abs=0.1)
    assert private.verdict == "holds"
    assert bare.claim is None
