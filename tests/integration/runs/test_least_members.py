"""A run under an agreement that demands a least number of members for its task."""

import pytest

from securefl.config.load import load_config
from securefl.consortium.agreement.model import new_agreement
from securefl.errors import SecureflError
from securefl.federation.aggregation import fedavg
from securefl.federation.runs import simulation
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from support.small_runs import SMALL_DEMAND


@pytest.mark.parametrize(
    ("mode", "why"), [("plain", "4 members .* demands 5 for demand"), ("secure", "round 1")]
)
def test_sum_of_fewer_than_demanded_is_not_made(mode, why, tmp_path, monkeypatch):
    """One member of five drops out, and the round ends in no model."""
    monkeypatch.setattr(simulation, "new_agreement", _demanding)
    kept = fedavg._updates
    monkeypatch.setattr(fedavg, "_updates", lambda *given: dict(list(kept(*given).items())[1:]))
    drop = {"member": "retailer-1", "round": 1, "step": "masked-input"}
    changes = {"mode": mode, "rounds": 1, "cohort": {"minimum": 5}}
    if mode == "secure":
        changes["simulation"] = {"dropouts": [drop]}
    config = load_config(None, SMALL_DEMAND | changes)
    with pytest.raises(SecureflError, match=why):
        run(RunDirectory.create(tmp_path / "run", config))


def _demanding(*arguments, **named):
    return new_agreement(*arguments, **named, least_members={"demand": 5})
