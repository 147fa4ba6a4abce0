"""Rounds that end before the last one, as members agreed."""

import pytest

from securefl.audit.bundle.inputs import read_bundle
from securefl.audit.export import export
from securefl.audit.verify import verify
from securefl.config.early_stopping import ends_early
from securefl.config.load import load_config
from securefl.consortium.ledger.events import Outcome
from securefl.errors import ConfigError
from securefl.federation.runs.run import run

FAST = {"training": {"learning_rate": 0.05}, "rounds": 12, "mode": "secure"}


@pytest.mark.parametrize(
    ("patience", "last", "best", "ends"),
    [(2, 5, 3, True), (2, 5, 4, False), (None, 5, 1, False), (2, 5, 0, False), (2, 6, 4, False)],
)
def test_when_a_run_may_end(patience, last, best, ends):
    config = load_config(None, {"rounds": 6, "patience": patience})
    assert ends_early(config, last=last, best=best) is ends


def test_no_score_ends_a_run_under_a_budget():
    with pytest.raises(ConfigError, match="under a budget no score decides"):
        load_config(None, {"patience": 2, "privacy": {"dp": "local", "epsilon": 4.0}})


def completeness(bundle):
    return {check.name: check for check in verify(bundle).checks}["run-complete"]


def test_a_run_ends_early_and_the_audit_says_so(small_run, tmp_path):
    """With fewer rounds behind the result than agreed, the audit takes it for broken off."""
    result, directory = small_run(kind="ratings", patience=1, **FAST)
    assert result.rounds == result.best_round + 1 < 12
    assert result.agreed_rounds == 12
    again = run(directory)  # started again, it trains no further
    assert (again.rounds, again.agreed_rounds) == (result.rounds, 12)
    export(directory.path, tmp_path / "bundle.json")
    bundle = read_bundle(tmp_path / "bundle.json")
    done = completeness(bundle)
    assert done.verdict == "pass"
    assert f"ended after {result.rounds} of 12 rounds" in done.reason
    ends = [one.entry.event for one in bundle.entries if isinstance(one.entry.event, Outcome)]
    newest = max(ends, key=lambda event: event.round).model_after
    claims = bundle.claims.model_copy(update={"model": newest})
    cut = completeness(bundle.model_copy(update={"claims": claims}))
    assert (cut.verdict, cut.lacks) == ("not checked", "all agreed rounds")
    assert f"{result.rounds} of the 12 agreed rounds ended" in cut.reason
