"""Distributed differential privacy inside a run: what is summed, what it costs, who is hidden."""

import numpy as np
import pytest
from scipy import stats

from securefl.audit.export import audit_run
from securefl.config.load import load_config
from securefl.consortium.ledger.data_custody import default_books
from securefl.consortium.ledger.hash_chain import read_entry
from securefl.consortium.ledger.overlap import shared_customers, shared_runs
from securefl.consortium.ledger.transparency_log import open_log
from securefl.errors import ConfigError
from securefl.federation.member.spec import MemberSpec
from securefl.federation.member.updates.distributed_dp import RELEASE, DistributedUpdates
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.ml.tensor_io import read_tensors
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.distributed_plan import DistributedPlan
from securefl.privacy.encoding.gradients import fraction_bits, sum_sensitivity
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.plan import PrivacyPlan
from securefl.privacy.statement import guarantee
from support.masked_federation import make_liar

NAMES = ["north", "south", "west", "east"]


def test_a_run_says_what_it_spent_and_keeps_to_its_budget(finished):
    result, directory = finished()
    privacy = result.to_json()["privacy"]
    assert privacy["unit"] == "customer"
    assert "share" in privacy["mechanism"]
    for member in privacy["members"]:
        assert member["steps"] == 3
        assert 2.9 < member["epsilon"] <= 3.0
    spent = [record.epsilon for record in directory.records()]
    assert spent == sorted(spent)
    assert {"federated", "released"} <= set(result.metrics)
    audit = audit_run(directory.path)
    assert audit.verdict == "pass", [c for c in audit.checks if c.verdict not in {"pass"}]


def shares_of(directory, member):
    tensors, _ = read_tensors(directory.member_path(member) / RELEASE)
    return tensors["share"].numpy()


def test_two_members_never_share_noise(finished):
    _, directory = finished(privacy={"sampling_rate": 1e-6, "delta": 1e-8})
    shares = np.array([shares_of(directory, name) for name in NAMES])
    assert np.abs(np.corrcoef(shares) - np.eye(4)).max() < 5 / shares.shape[1] ** 0.5
    assert len(np.unique(shares[:, 0])) == 4


def test_what_a_member_hands_over_are_integers_of_the_agreed_step(finished, config):
    _, directory = finished()
    for name in NAMES:
        share = shares_of(directory, name)
        scaled = np.ldexp(share, fraction_bits(config().privacy, len(share)))
        assert np.array_equal(scaled, np.rint(scaled))


def test_the_sum_that_the_coordinator_sees_has_the_claimed_law(finished, config, sums_seen):
    """With batches that are empty, all of it is noise."""
    empty = {"rounds": 6, "privacy": {"sampling_rate": 1e-6, "delta": 1e-8}}
    seen = sums_seen
    finished(observer=seen, **empty)
    plan = DistributedPlan.of(config(**empty), 4, seen.totals[0].terms.dimension)
    noise = plan.noise
    found = np.concatenate(seen.integers())
    assert len(found) > 400
    standard = found / noise.summed_deviation(4)
    assert stats.kstest(standard, "norm").pvalue > 1e-4
    chance = stats.chi2.cdf((standard**2).sum(), len(standard))
    assert 1e-4 < chance < 1 - 1e-4
    assert np.abs(np.corrcoef(standard[:-1], standard[1:])[0, 1]) < 5 / len(standard) ** 0.5


@pytest.mark.parametrize("colluding", [0, 1, 2])
def test_colluders_who_reveal_their_shares_leave_the_accounted_noise(config, colluding):
    chosen = config(privacy={"distributed": {"colluding": colluding}})
    plan = DistributedPlan.of(chosen, 4, 50)
    noise = plan.noise
    accounted = plan.event.noise_multiplier * sum_sensitivity(chosen.privacy, 50).l2
    least = 3 - colluding  # floor(2 * 4 / 3) + 1 survive
    assert plan.honest == least
    assert noise.summed_deviation(least) >= accounted
    assert noise.summed_deviation(least) < 1.001 * accounted


def test_more_colluders_than_survivors_are_refused(config):
    with pytest.raises(ConfigError, match="no honest member"):
        DistributedPlan.of(config(privacy={"distributed": {"colluding": 3}}), 4, 50)


def test_no_dropouts_and_no_colluders_need_the_noise_of_one_curator(config):
    chosen = config(cohort={"minimum": 4}, privacy={"distributed": {"colluding": 0}})
    plan = DistributedPlan.of(chosen, 4, 10_000)
    central = PrivacyPlan.of(chosen).sigma(3) * chosen.privacy.clip_norm
    step = chosen.privacy.expected_batch / 2 ** fraction_bits(chosen.privacy, 10_000)
    assert plan.noise.summed_deviation(4) * step <= 1.003 * central


def test_a_share_that_was_handed_over_is_handed_over_again(finished, config, tmp_path):
    _, directory = finished()
    before = {name: shares_of(directory, name) for name in NAMES}
    (directory.path / "result.json").unlink()
    resumed = run(RunDirectory.open(directory.path))
    assert resumed.rounds == 3
    for name in NAMES:
        assert np.array_equal(shares_of(directory, name), before[name])


@pytest.mark.parametrize("step", ["masked-input", "unmask"])
def test_a_dropout_costs_no_privacy(finished, step):
    drop = {"member": "west", "round": 2, "step": step}
    result, directory = finished(simulation={"dropouts": [drop]})
    survivors = directory.records()[1].survivors
    assert len(survivors) in {3, 4}
    assert all(member.epsilon <= 3.0 for member in result.privacy.members)


def charges(directory, consortium):
    """(member, round, noise multiplier) of every release that was paid for."""
    log = open_log(directory.ledger_path, consortium)
    for entry in (read_entry(data).entry for data in log.entries()):
        if entry.event.kind == "release" and entry.event.mechanism is not None:
            yield entry.member, entry.event.round, entry.event.mechanism.noise_multiplier


def test_a_member_that_comes_late_adds_no_less_noise_than_the_others_count_on(finished, consortium):
    _, directory = finished(rounds=4, seed=2, cohort={"fraction": 0.75, "minimum": 3})
    charged = list(charges(directory, consortium(directory)))
    first = [min(number for name, number, _ in charged if name == member) for member in NAMES]
    assert max(first) > 1
    assert len({sigma for _, _, sigma in charged}) == 1


def test_a_member_that_paid_twice_is_not_charged_for_noise_that_others_do_not_add(
    finished, monkeypatch, consortium
):
    """Killed between charge and share: it cannot make the sum noisier, and ends a round earlier."""
    killed, whole = [], DistributedUpdates._noise

    def kill_once(*arguments):
        if not killed:
            killed.append(True)
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(DistributedUpdates, "_noise", kill_once)
    with pytest.raises(KeyboardInterrupt):
        finished()
    directory = RunDirectory.open(finished.path)
    result = run(directory)
    charged = list(charges(directory, consortium(directory)))
    assert len({sigma for _, _, sigma in charged}) == 1
    twice = [name for name, number, _ in charged if number == 1]
    twice = next(name for name in twice if twice.count(name) == 2)
    assert [number for name, number, _ in charged if name == twice] == [1, 1, 2]
    assert set(directory.records()[2].survivors) == set(NAMES) - {twice}
    assert all(member.epsilon <= 3.0 for member in result.privacy.members)


def test_noise_shares_in_the_clear_are_refused(config):
    with pytest.raises(ConfigError, match="needs mode 'secure'"):
        config(mode="plain")


def test_a_step_a_round_is_the_default_of_every_model():
    options = {"model": {"name": "mf"}, "privacy": {"dp": "distributed", "epsilon": 1.0}}
    assert load_config(None, options).privacy.steps == 1


def test_more_steps_than_sums_are_refused(config):
    with pytest.raises(ConfigError, match="a round is one step"):
        config(privacy={"steps": 2})


def test_a_format_without_room_for_the_noise_is_refused(config):
    """Before the run, and by a plan of a session once more; where bits are free, more are taken."""
    chosen = config(secure={"bits": 16}, privacy={"epsilon": 0.01})
    with pytest.raises(ConfigError, match=r"secure\.bits: no room for signal and noise"):
        mechanism_for(chosen.privacy).check(chosen, 4, 50)
    free = config(privacy={"epsilon": 0.01})
    assert DistributedPlan.of(free, 4, 50).encoding(4).ring > 24


def test_the_books_state_what_a_customer_of_several_retailers_pays_under_one_noise(finished):
    result, _ = finished()
    sigma, scores = (
        result.privacy.members[0].noise_multiplier,
        result.privacy.members[0].score_noise,
    )
    stated = shared_customers(default_books())
    assert [one.retailers for one in stated] == [1, 2, 3, 4]
    for one in stated:
        moved = SampledGaussian(sigma / one.retailers, 1.0, 3)
        scored = SampledGaussian(scores / one.retailers, 1.0, 1)
        assert one.epsilon == pytest.approx(epsilon_of([moved, scored], 1e-3))
    two, four = shared_runs(default_books())
    assert (two.retailers, two.epsilon) == (2, stated[1].epsilon)
    assert (four.retailers, four.epsilon) == (4, stated[3].epsilon)
    member = result.privacy.members[0]
    assert member.two_retailers_epsilon == pytest.approx(two.epsilon)
    assert f"two retailers epsilon is {two.epsilon:.3f}" in guarantee(result.privacy)


@pytest.mark.slow
def test_noise_of_ones_own_composes_beside_shared_noise(finished):
    finished("shared")
    own, _ = finished("own", privacy={"dp": "local"})
    assert "the noise is shared" not in guarantee(own.privacy)
    assert own.privacy.members[0].two_retailers_epsilon is None
    stated = shared_customers(default_books())
    alone = shared_runs(default_books())
    assert len(alone) == 2
    assert stated[1].epsilon > max(alone[0].epsilon, own.privacy.members[0].epsilon)
    assert [one.epsilon for one in stated] == sorted(one.epsilon for one in stated)


def test_wrong_checksum_repeats_the_release_and_charges_once(finished, monkeypatch):
    """The same share, noise included, goes out under fresh masks: one release, one charge."""
    build = MemberSpec.build

    def built(spec):
        member = build(spec)
        if spec.name == "south":
            make_liar(member.masked, {2})
        return member

    monkeypatch.setattr(MemberSpec, "build", built)
    result, directory = finished()
    assert [member["steps"] for member in result.to_json()["privacy"]["members"]] == [3] * 4
    assert len(directory.records()) == 3
    audit = audit_run(directory.path)
    assert audit.verdict == "pass", [c for c in audit.checks if c.verdict not in {"pass"}]
