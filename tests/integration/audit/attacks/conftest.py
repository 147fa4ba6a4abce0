"""A small private run to attack; its noise is repeatable, so that no verdict of a test is luck."""

import pytest

from securefl.audit.attacks.canaries import small_member
from securefl.audit.attacks.run import on_noise
from securefl.config.load import load_config

SMALL = {
    "task": "recommendation",
    "rounds": 5,
    "data": {"source": "tutorial", "retailers": 3, "customers": 60, "interactions": [900, 900]},
    "model": {"name": "profile", "rank": 2},
    "recommendation": {"min_households": 3, "min_products": 4, "negatives": 5},
    "privacy": {
        "dp": "local",
        "epsilon": 4.0,
        "delta": 1e-5,
        "sampling_rate": 1.0,
        "steps": 2,
        "learning_rate": 1.0,
        "gradients": "bookkeeping",
    },
    "references": {"enabled": False},
    "engine": {"workers": 1},
}


@pytest.fixture
def private():
    """Makes the configuration of a small private run whose noise follows from a seed."""

    def make(seed=0, **privacy):
        chosen = {**SMALL["privacy"], "insecure_testing_seed": seed, **privacy}
        return load_config(None, {**SMALL, "seed": seed, "privacy": chosen})

    return make


@pytest.fixture
def on_canaries(private, tmp_path):
    """Attacks the noise of a small private run: findings by name."""
    made = iter(range(1000))

    def attack(canaries=5000, seed=0, **privacy):
        member = small_member(private(seed, **privacy))
        found, _ = on_noise(member, canaries, tmp_path / f"attack-{next(made)}")
        return {finding.name: finding for finding in found}

    return attack
