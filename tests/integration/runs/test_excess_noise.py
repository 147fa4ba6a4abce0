"""Noise for members that did not drop out, taken back in a run: by all, and never too much."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from securefl.audit.export import audit_run
from securefl.federation.aggregation.secure import SecureAggregator
from securefl.federation.member.checkpoint import MemberState, pack_training, unpack_training
from securefl.federation.member.updates import distributed_dp as distributed
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.federation.transport.exchange import MemberFailedError
from securefl.privacy.distributed_plan import DistributedPlan
from securefl_protocols.noise.layers import NoiseChain

NAMES = ["north", "south", "west", "east"]
REMOVE = {"distributed": {"excess": "remove", "colluding": 1}}
EMPTY = {"rounds": 4, "privacy": {"sampling_rate": 1e-6, "delta": 1e-8, **REMOVE}}
"""With batches that are empty, all that is summed is noise."""


def left_in(seen):
    """The integers that sums decode to, once noise was taken back."""
    return [
        np.rint(
            result.terms.decode(result.total, result.opened).mean
            * len(result.survivors)
            * 2.0**result.terms.encoding.fraction_bits
        )
        for result in seen.totals
    ]


def check_law(integers, variance):
    standard = np.concatenate(integers) / variance**0.5
    assert len(standard) >= 300
    assert stats.kstest(standard, "norm").pvalue > 1e-4
    chance = stats.chi2.cdf((standard**2).sum(), len(standard))
    assert 1e-4 < chance < 1 - 1e-4


@pytest.mark.parametrize("missing", [0, 1])
def test_what_stays_in_the_sum_is_the_noise_that_was_priced(finished, config, sums_seen, missing):
    drops = [{"member": "west", "round": number, "step": "masked-input"} for number in (1, 2, 3, 4)]
    changes = {**EMPTY, "simulation": {"dropouts": drops if missing else []}}
    finished(observer=sums_seen, **changes)
    plan = DistributedPlan.of(config(**changes), 4, sums_seen.totals[0].terms.dimension)
    survivors = 4 - missing
    assert all(len(result.survivors) == survivors for result in sums_seen.totals)
    assert all(len(result.opened) == (0 if missing else 4) for result in sums_seen.totals)
    priced = plan.honest * plan.noise.share_variance
    # One of the survivors may collude, and its part of the noise is not counted on.
    check_law(left_in(sums_seen), priced * survivors / (survivors - 1))


def test_with_nothing_taken_back_the_sum_is_noisier(finished, config, sums_seen):
    finished(observer=sums_seen, **EMPTY)
    plan = DistributedPlan.of(config(**EMPTY), 4, sums_seen.totals[0].terms.dimension)
    unmasked = sums_seen.integers()
    check_law(unmasked, plan.noise.summed_deviation(4) ** 2)
    ratio = np.var(np.concatenate(unmasked)) / np.var(np.concatenate(left_in(sums_seen)))
    assert ratio == pytest.approx(1.5, rel=0.25)  # shares of 1/2 that become shares of 1/3


def test_members_auditors_and_the_coordinator_subtract_the_same(finished):
    result, directory = finished(privacy=REMOVE)
    assert result.rounds == 3
    assert all(set(record.survivors) == set(NAMES) for record in directory.records())
    audit = audit_run(directory.path)
    assert audit.verdict == "pass", [c for c in audit.checks if c.verdict != "pass"]
    is_expected = next(check for check in audit.checks if check.name == "models-from-sums")
    assert is_expected.verdict == "pass"


@pytest.mark.slow
def test_epsilon_is_what_it_was(finished):
    kept, _ = finished("kept")
    removed, _ = finished("removed", privacy=REMOVE)
    assert [m.epsilon for m in kept.privacy.members] == [m.epsilon for m in removed.privacy.members]


@pytest.mark.parametrize("step", ["masked-input", "unmask"])
def test_members_that_vanish_do_not_stop_the_others(finished, step):
    drop = {"member": "west", "round": 2, "step": step}
    result, directory = finished(privacy=REMOVE, simulation={"dropouts": [drop]})
    assert result.rounds == 3
    assert audit_run(directory.path).verdict == "pass"


def test_a_member_that_is_restarted_takes_nothing_back_of_a_round_begun_before(
    finished, monkeypatch, sums_seen
):
    """Its secret is in no file; the share that it handed over is handed over again."""
    keep = distributed.ReleaseCache.put

    def killed_after(self, *arguments):
        keep(self, *arguments)
        if "east" in str(self._path) and arguments[0] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(distributed.ReleaseCache, "put", killed_after)
    with pytest.raises(KeyboardInterrupt):
        finished(privacy=REMOVE)
    monkeypatch.undo()
    run(RunDirectory.open(finished.path), observer=sums_seen)
    again, fresh = sums_seen.totals
    assert fresh.opened.keys() == {0, 1, 2, 3}
    assert again.opened.keys() < fresh.opened.keys()
    assert audit_run(finished.path).verdict == "pass"


def test_a_coordinator_that_takes_back_less_than_was_revealed_has_no_next_round(
    finished, monkeypatch
):
    """The model follows from what members were shown; they sign no other, and train from none."""
    decoded = SecureAggregator.decoded

    def with_all_noise(result):
        return decoded(replace(result, opened={}))

    monkeypatch.setattr(SecureAggregator, "decoded", staticmethod(with_all_noise))
    with pytest.raises(MemberFailedError, match="round 1 ended with another model"):
        finished(privacy=REMOVE)


def test_what_opens_the_layers_is_in_nothing_that_a_member_keeps():
    chain = NoiseChain(os.urandom(32), 2)
    packed = pack_training(torch.zeros(3), 0.0, chain, MemberState({}, {}, None))
    *_, layers, _ = unpack_training(packed, None)
    assert layers.anchor == chain.anchor
    assert layers.reveal(0) == b""
    for link in (*chain._links[:-1], *chain.keys()):
        assert link not in packed
        assert link.hex().encode() not in packed


@pytest.mark.parametrize(("bits", "dtype"), [("auto", np.uint32), (64, np.uint64)])
def test_whatever_the_lanes(finished, config, sums_seen, bits, dtype):
    changes = {**EMPTY, "secure": {"bits": bits}}
    _, directory = finished(observer=sums_seen, **changes)
    plan = DistributedPlan.of(config(**changes), 4, sums_seen.totals[0].terms.dimension)
    assert sums_seen.totals[0].total.dtype == dtype
    check_law(left_in(sums_seen), plan.noise.honest * plan.noise.share_variance * 4 / 3)
    assert audit_run(directory.path).verdict == "pass"
