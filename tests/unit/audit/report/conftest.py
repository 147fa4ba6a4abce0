"""A run that has ended, without having run: two retailers, one with a hostile name."""

import math

import pytest

from securefl.audit.report.page import assemble, render
from securefl.audit.report.proof import Proof
from securefl.audit.verify import Audit, Checked
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.runs.result import MemberResult, RunResult
from securefl.privacy.statement import MemberPrivacy, RunPrivacy

HOSTILE = "<script>alert('x')</script> & Sons"


def _metrics(better):
    return {
        "naive": {"hr@10": 0.30, "ndcg@10": 0.19},
        "alone": {"hr@10": 0.40, "ndcg@10": 0.24},
        "federated": {"hr@10": 0.40 + better, "ndcg@10": 0.25},
        "pooled": {"hr@10": 0.45, "ndcg@10": math.nan},
    }


@pytest.fixture(scope="module")
def result():
    def make(*, private=True):
        privacy = RunPrivacy(
            unit="customer",
            adjacency="add or remove one customer",
            mechanism="sampled Gaussian",
            against="everyone who sees what its retailer releases",
            protects="one customer with all that she bought",
            records_per_customer=None,
            accountant="rdp",
            delta=1e-5,
            members=tuple(
                MemberPrivacy(name, epsilon, 2.5, 1.0, 0.5, 20, epsilon, epsilon, 3.0)
                for name, epsilon in (("north", 1.9), (HOSTILE, 2.0))
            ),
        )
        return RunResult(
            task="recommendation",
            mode="secure",
            seed=0,
            rounds=3,
            best_round=2,
            members=(
                MemberResult("north", 100, _metrics(0.05)),
                MemberResult(HOSTILE, 50, _metrics(-0.01)),
            ),
            seconds=12.3,
            metrics=_metrics(0.03),
            privacy=privacy if private else None,
            run_dir="runs/a",
        )

    return make


@pytest.fixture(scope="module")
def records():
    return [
        RoundRecord(
            round=number,
            cohort=("north", HOSTILE),
            survivors=("north", HOSTILE) if number != 2 else ("north",),
            loss=1.0,
            validation={"hr@10": 0.4},
            best=number == 2,
            seconds=1.5,
            epsilon=0.5 * number,
        )
        for number in (1, 2, 3)
    ]


@pytest.fixture(scope="module")
def proof():
    checks = tuple(
        Checked(f"check-{verdict}", "group", verdict, f"because <b>{verdict}</b>", None, "mend it")
        for verdict in ("pass", "warn", "fail", "not checked")
    )
    paths = {"north": [(1, 1.0), (2, 1.5), (3, 1.9)], HOSTILE: [(1, 1.1), (3, 2.0)]}
    return Proof(Audit("bundle.json", "ab" * 32, None, checks), paths)


@pytest.fixture(scope="module")
def render_again(result, records, proof):
    return lambda: render(assemble(result(), records, proof))


@pytest.fixture(scope="module")
def page(render_again):
    return render_again()
