"""What the audit is for: bugs planted in the product's training path are caught, honest runs pass.

A bug is planted by replacing a part of the product in the test; the product has no switch for it.
"""

from dataclasses import replace

import pytest
import torch

from securefl.audit.attacks.findings import AS_NUMBERS, CHANCE
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.federation.member.updates import local_dp as private
from securefl.privacy.dpsgd import book_keeping as bookkeeping
from securefl.privacy.dpsgd import per_example
from securefl.privacy.noise.csprng import AesCtrRng
from support.local_noise import divide

CANARIES = "canaries, f-DP"
NUMBERS = AS_NUMBERS
DIFFERENCE = "difference of two members, f-DP"
NOISE = "noise of two members"
ACCOUNT = "account, priced anew"


def refuted(found):
    return {name for name, finding in found.items() if not finding.holds}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_an_honest_run_passes(on_canaries, seed):
    found = on_canaries(seed=seed)
    assert refuted(found) == set()
    # The attack is not blind: it proves a good part of what was spent.
    assert found[CANARIES].lower_bound > 1.3
    assert found["canaries in one run"].lower_bound > 0.8


@pytest.mark.slow
def test_scores_as_numbers_find_noise_off_by_a_quarter(on_canaries, monkeypatch):
    """Where guesses alone do not: the size of a score tells more than its sign."""
    assert on_canaries()[NUMBERS].lower_bound > 3.2
    divide(monkeypatch, by=1.25)
    found = on_canaries()
    assert NUMBERS in refuted(found)
    assert found[NUMBERS].numbers["noise_scale_sure"] < 1


@pytest.mark.slow
def test_scores_as_numbers_over_20_seeds(on_canaries, monkeypatch):
    """Honest runs are not refuted; small faults of the noise are, far below one half."""
    honest = [on_canaries(seed=seed)[NUMBERS] for seed in range(200, 220)]
    assert all(one.holds for one in honest)
    assert sorted(one.lower_bound for one in honest)[10] > 3.4
    for factor, least, level in ((1.25, 20, "noise_scale_sure"), (1.1, 15, "noise_scale")):
        with monkeypatch.context() as patch:
            divide(patch, by=factor)
            found = [on_canaries(seed=seed)[NUMBERS] for seed in range(200, 220)]
        assert sum(one.numbers[level] < 1 for one in found) >= least, factor


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_an_honest_run_passes_in_each_of_20_seeds(on_canaries, seed):
    assert refuted(on_canaries(seed=100 + seed)) == set()


@pytest.mark.slow  # Opacus prices sampled batches in seconds
def test_an_honest_run_with_sampled_batches_passes(on_canaries):
    found = on_canaries(canaries=2000, sampling_rate=0.5)
    assert refuted(found) == set()
    assert found[CANARIES].lower_bound > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_noise_off_by_half_is_caught(on_canaries, monkeypatch, seed):
    divide(monkeypatch, by=2)
    found = on_canaries(seed=seed)
    assert CANARIES in refuted(found)
    assert 0.5 < found[CANARIES].numbers["noise_scale"] < 1.0


@pytest.mark.slow
def test_an_optimizer_that_blurs_the_release_hides_no_bug(on_canaries, monkeypatch):
    divide(monkeypatch, by=2)
    assert CANARIES in refuted(on_canaries(optimizer="adam", learning_rate=0.01))


@pytest.mark.slow
def test_clipping_off_is_caught(on_canaries, monkeypatch):
    for module in (bookkeeping, per_example):
        monkeypatch.setattr(module, "clip_factors", lambda norms, _: torch.ones_like(norms))
    found = on_canaries()
    assert {CANARIES, "canaries in one run"} <= refuted(found)
    assert found[CANARIES].numbers["right"] == found[CANARIES].numbers["made"]


@pytest.mark.slow
def test_noise_that_two_members_share_is_caught(on_canaries, monkeypatch):
    def one_key(settings, member, number):
        return AesCtrRng.insecure_for_tests(number.to_bytes(32, "big"))

    monkeypatch.setattr(private, "member_stream", one_key)
    found = on_canaries()
    assert refuted(found) == {DIFFERENCE, NOISE}
    assert found[NOISE].numbers["correlation"] > 0.99
    assert found[NOISE].numbers["p_value"] < CHANCE


@pytest.mark.slow
def test_an_account_that_forgets_every_round_is_caught(on_canaries, monkeypatch):
    charged = MemberLedger.charged

    def the_last_round(self):
        return tuple(replace(event, steps=2) for event in charged(self)[-1:])

    monkeypatch.setattr(MemberLedger, "charged", the_last_round)
    found = on_canaries()
    assert {ACCOUNT, CANARIES} <= refuted(found)
    assert found[ACCOUNT].numbers == {"steps_seen": 10, "steps_charged": 2}
