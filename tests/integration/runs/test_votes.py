"""Members vote on models: honest runs go on, and a spoiled model stops the run."""

import numpy as np
import pytest

from securefl.audit.attacks.poison.federations import family_config, family_data
from securefl.audit.attacks.poison.hostile import HostileSpec
from securefl.audit.attacks.poison.table import ATTACKS
from securefl.config.load import load_config
from securefl.errors import ConfigError
from securefl.federation.coordinator.vote import RejectedModelError
from securefl.federation.member.spec import MemberSpec
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare_data
from securefl.federation.runs.progress import Silent
from securefl.federation.runs.run import train_and_evaluate
from securefl.federation.runs.simulation import local_consortium
from securefl.federation.scores.ballots import is_of, signed_ballot
from securefl.federation.scores.judgement import ABSTAIN, ACCEPT
from securefl.ml.vectors import model_digest
from securefl_protocols.primitives.signing import SigningKey


def voting(**vote):
    base = family_config("ranking", 5, 0)
    tree = base.model_dump(mode="json", exclude_none=True)
    return load_config(None, tree | {"mode": "secure", "rounds": 2, "vote": vote})


@pytest.fixture
def hostile(monkeypatch):
    """Have the first retailer promote ten products, in its real place in the run."""
    honest = MemberSpec.build

    def build(spec):
        if spec.name != "retailer-0":
            return honest(spec)
        monkeypatch.setattr(MemberSpec, "build", honest)
        party = HostileSpec(spec, ATTACKS["promote-ten"], np.arange(10)).build()
        monkeypatch.setattr(MemberSpec, "build", build)
        return party

    monkeypatch.setattr(MemberSpec, "build", build)


def trained(config, path):
    directory = RunDirectory.create(path, config)
    prepared = prepare_data(config, family_data("ranking", config, 5))
    return directory, lambda: train_and_evaluate(prepared, directory, Silent())


def test_honest_members_accept_and_the_run_ends(tmp_path):
    directory, run = trained(voting(), tmp_path / "run")
    result = run()
    votes = [record.vote for record in directory.records()]
    assert [vote.rejected for vote in votes] == [False, False]
    assert all(len(vote.signatures) == 5 for vote in votes)
    assert result.state.round == 2


def test_a_promoted_model_stops_the_run(tmp_path, hostile):
    directory, run = trained(voting(), tmp_path / "run")
    with pytest.raises(RejectedModelError, match=r"the model of round 1 .* none is accepted"):
        run()
    (record,) = directory.records()
    assert record.vote.rejected
    assert not record.best
    assert directory.result() is None
    with pytest.raises(RejectedModelError):
        run()  # and it stays stopped


def test_no_vote_is_held_between_the_agreed_rounds(tmp_path):
    directory, run = trained(voting(every=2), tmp_path / "run")
    run()
    assert [record.vote is None for record in directory.records()] == [True, False]


BUDGET = {"dp": "distributed", "epsilon": 8.0, "delta": 1e-5}


@pytest.mark.parametrize("changes", [{"mode": "plain"}, {"privacy": BUDGET}])
def test_a_vote_is_refused_where_nothing_prices_it(changes):
    tree = voting().model_dump(mode="json", exclude_none=True)
    with pytest.raises(ConfigError, match="without a budget alone"):
        load_config(None, tree | changes)


def test_a_ballot_is_one_members_and_of_one_model(tmp_path):
    prepared = prepare_data(voting(), family_data("ranking", voting(), 5))
    consortium, keys = local_consortium(prepared)
    key, model = SigningKey(keys["retailer-1"]), model_digest(prepared.shared)
    signature = signed_ballot(consortium, key, 1, model, ACCEPT)
    assert is_of(consortium, "retailer-1", signature, (1, model, ACCEPT))
    assert not is_of(consortium, "retailer-2", signature, (1, model, ACCEPT))
    assert not is_of(consortium, "retailer-1", signature, (2, model, ACCEPT))
    assert not is_of(consortium, "retailer-1", signature, (1, bytes(32), ACCEPT))
    assert not is_of(consortium, "retailer-1", signature, (1, model, ABSTAIN))
    other = signed_ballot(consortium, key, 1, model, "reject: envy")
    assert not is_of(consortium, "retailer-1", other, (1, model, "reject: envy"))
