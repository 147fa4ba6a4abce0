"""A hostile member in a process of its own, against honest processes around a real broker."""

from contextlib import ExitStack

import pytest

from securefl.audit.attacks.poison.federations import family_config
from securefl.audit.export import audit_run
from securefl.config.load import load_config, merge
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.scores.judgement import ACCEPT, WORSE
from securefl.federation.services.status import read_status
from support.consortium_processes import (
    begun,
    found,
    life_of_hostile,
    life_of_too_long,
    run_network,
)
from support.hostile_ballots import MALFORMED, OLDER, SILENT, TWICE, life_of_ballots
from support.small_runs import NETWORK_MEMBERS as NAMES

pytestmark = pytest.mark.slow


def village_of(folder, rounds, **vote):
    """Four retailers who rank products, and vote on each model."""
    return agreed_by(folder, {"rounds": rounds, "vote": vote})


def agreed_by(folder, changes):
    """Four retailers who rank products under an agreement with these changes."""
    tree = family_config("ranking", len(NAMES), 0).model_dump(mode="json", exclude_none=True)
    return found(folder, load_config(None, merge(tree, {"mode": "secure"} | changes)), NAMES)


def test_scaled_update_is_found_and_its_round_repeated(tmp_path):
    """The run ends with an accepted model, and its audit follows all of it."""
    village = village_of(tmp_path / "village", rounds=3)
    result = run_network(village, hostile={NAMES[0]: ("scale", {2})})
    records = RunDirectory.open(result).records()
    assert [record.vote.rejected for record in records] == [False, True, False]
    assert not any(record.vote.absent for record in records)
    assert "round 3 accepted" in read_status(result)["vote"]
    audit = audit_run(result)
    assert audit.verdict != "fail"
    verdicts = {check.name: check.verdict for check in audit.checks}
    checks = ("votes-counted", "model-chain", "sums-replayed", "models-from-sums")
    assert {verdicts[name] for name in checks} == {"pass"}


def test_scaling_without_end_stops_the_run_by_name(tmp_path):
    village = village_of(tmp_path / "village", rounds=4, repeats=1)
    with ExitStack() as stack:
        attacks = {NAMES[0]: (life_of_hostile, ("scale", None))}
        lives, hub = begun(stack, village, attacks)
        hub.join(120)
        for process in lives.values():
            process.join(30)
        # The coordinator stops with the reason, and no member waits on.
        assert hub.exitcode not in {0, None}
        assert all(process.exitcode is not None for process in lives.values())
    status = read_status(village.folder / "run")
    assert status["state"] == "stopped"
    assert "reject the model of round 2" in status["trouble"]
    assert "reject: length" in status["trouble"]


def test_too_long_update_is_refused_and_named(tmp_path):
    """Norm proofs around a real broker: honest members go on without the one that has none."""
    pytest.importorskip("rbcl")
    changes = {"rounds": 1, "secure": {"norm": 0.25}}
    village = agreed_by(tmp_path / "village", changes)
    with ExitStack() as stack:
        _, hub = begun(stack, village, {NAMES[0]: (life_of_too_long, ())})
        hub.join(240)
        assert hub.exitcode == 0, (village.folder / "hub.log").read_text()[-3000:]
    (record,) = RunDirectory.open(village.folder / "run").records()
    assert record.survivors == NAMES[1:]
    assert "no proof that its norm is within" in record.left_out[NAMES[0]]


def test_hostile_ballots_decide_nothing_and_are_named(tmp_path):
    """None, two, that of another round while it attacks, and one that is none."""
    village = village_of(tmp_path / "village", rounds=5)
    ways = {1: SILENT, 2: TWICE, 3: OLDER, 4: MALFORMED}
    name = NAMES[0]
    with ExitStack() as stack:
        lives, hub = begun(stack, village, {name: (life_of_ballots, (ways, ("scale", {3})))})
        hub.join(480)
        assert hub.exitcode == 0, (village.folder / "hub.log").read_text()[-3000:]
        for process in lives.values():
            process.join(20)
    result = village.folder / "run"
    votes = [record.vote for record in RunDirectory.open(result).records()]
    assert [vote.rejected for vote in votes] == [False, False, True, False, False]
    assert [vote.absent for vote in votes] == [(name,), (), (name,), (name,), ()]
    assert votes[1].ballots[name] in {ACCEPT, WORSE}  # the first of them that is read
    said = (village.folder / "hub.log").read_text()
    for number, reason in ((1, "no answer in time"), (3, "is on round 2"), (4, "failed: ")):
        assert f"round {number}: {name} gave no ballot that counts: " in said
        assert reason in said
    assert f"{name} answered what it was not asked" in said  # with more ballots
    # It has them in its own entries: an auditor cannot tell whether the coordinator withheld them.
    verdicts = {check.name: check.verdict for check in audit_run(result).checks}
    assert verdicts["votes-counted"] == "not checked"
