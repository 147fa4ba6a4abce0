"""Whole runs twice, in the clear and masked: the integer sums are the same, whoever drops out."""

import pytest

from securefl.federation.aggregation.secure import RoundFailedError
from securefl.federation.runs.compare import compare

STEPS = ("keys", "shares", "masked-input", "consistency", "unmask")


@pytest.mark.parametrize("kind", ["demand", "ratings", "purchases"])
def test_masked_sums_are_bit_identical_for_every_task(tmp_path, small_config, kind):
    result = compare(small_config(kind, secure={"bits": 64}), tmp_path / "compare")
    assert result.integer_sums_identical
    assert 0 <= result.max_abs_difference <= result.bound < 1e-9
    assert result.secure.metrics == pytest.approx(result.plain.metrics, rel=1e-3)
    assert result.secure.bytes_up > result.plain.bytes_up


TIGHT = {"limit": 0.25, "max_samples": 1000}
"""As the members of the small ratings know them; with these, few bits are enough."""


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_masked_sums_are_bit_identical_in_narrow_lanes(tmp_path, small_config, bits):
    """Rounded to the nearest or at random, with a dropout; and as many bytes as lanes."""
    dropouts = [{"member": "retailer-3", "round": 2, "step": "masked-input"}]
    secure = TIGHT | {"bits": bits}
    config = small_config("ratings", simulation={"dropouts": dropouts}, secure=secure)
    result = compare(config, tmp_path / "compare")
    assert result.bits == bits
    assert result.integer_sums_identical
    assert 0 < result.max_abs_difference <= result.bound
    assert result.dropouts == {2: ("retailer-3",)}
    assert result.secure.metrics == pytest.approx(result.plain.metrics, rel=0.02)


@pytest.mark.parametrize("rounds_per_session", [pytest.param(1, marks=pytest.mark.slow), 64])
@pytest.mark.parametrize("step", STEPS)
def test_masked_sums_are_bit_identical_with_dropouts(
    tmp_path, small_config, step, rounds_per_session
):
    dropouts = [{"member": "retailer-3", "round": 2, "step": step}]
    config = small_config(
        simulation={"dropouts": dropouts},
        secure={"rounds_per_session": rounds_per_session},
        rounds=3,
    )
    result = compare(config, tmp_path / "compare")
    assert result.integer_sums_identical
    assert result.max_abs_difference <= result.bound
    gone = step in STEPS[:3] and not (step == "keys" and rounds_per_session == 64)
    if gone:
        assert result.dropouts == {2: ("retailer-3",)}


@pytest.mark.parametrize("kind", ["ratings", "purchases"])
def test_every_task_survives_a_dropout(tmp_path, small_config, kind):
    member = "retailer-3" if kind == "ratings" else "west"
    dropouts = [{"member": member, "round": 2, "step": "masked-input"}]
    result = compare(small_config(kind, simulation={"dropouts": dropouts}), tmp_path / "compare")
    assert result.integer_sums_identical
    assert result.max_abs_difference <= result.bound
    assert result.dropouts == {2: (member,)}


def test_below_the_threshold_there_is_no_sum(tmp_path, small_config):
    dropouts = [
        {"member": f"retailer-{number}", "round": 2, "step": "masked-input"} for number in (0, 1, 3)
    ]
    config = small_config(simulation={"dropouts": dropouts})
    with pytest.raises(RoundFailedError, match="round 2 has no sum"):
        compare(config, tmp_path / "compare")


@pytest.mark.slow
def test_a_run_in_32_bits_scores_as_the_plain_one_within_the_bound(tmp_path, small_config):
    wide = compare(small_config("ratings", secure={"bits": 64}), tmp_path / "wide")
    secure = {"limit": 4.0, "max_samples": 1000, "min_samples": 100, "tolerance": 1e-6}
    narrow = compare(small_config("ratings", secure=secure), tmp_path / "narrow")
    assert narrow.integer_sums_identical
    assert 1e-12 < narrow.max_abs_difference <= narrow.bound <= 1e-6
    assert narrow.secure.metrics == pytest.approx(narrow.plain.metrics, abs=1e-4)
    assert narrow.secure.bytes_up < 0.7 * wide.secure.bytes_up


def test_a_member_with_fewer_samples_than_agreed_stays_out(tmp_path, small_config):
    secure = {"max_samples": 1 << 20, "min_samples": 1 << 19}
    with pytest.raises(RoundFailedError, match="has no sum"):
        compare(small_config("ratings", secure=secure), tmp_path / "compare")
