"""Attacks of members on the others: each does what it says, behind the real member."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from securefl.audit.attacks.poison.federations import FAMILIES, family_config, family_data
from securefl.audit.attacks.poison.play import Scene, play
from securefl.audit.attacks.poison.report import poison
from securefl.audit.attacks.poison.table import ATTACKS
from securefl_cli.commands.audit.attack import attack


@pytest.fixture(scope="module")
def ranking(tmp_path_factory):
    """Two rounds of three retailers, honest and under every attack, when they are asked for."""
    config = family_config("ranking", 3, 0)
    config = config.model_copy(update={"rounds": 2})
    scene, found = Scene(config, family_data("ranking", config, 3), 1), {}

    def seen(name):
        if name not in found:
            path = tmp_path_factory.mktemp("poison") / name
            found[name] = play(scene, ATTACKS.get(name), path)
        return found[name]

    return seen


@pytest.mark.slow
def test_the_table_has_an_attack_for_each_name(ranking):
    assert len(ATTACKS) == 12
    assert all(attack.name == name for name, attack in ATTACKS.items())
    changes = {name: ranking(name).changes[0].tobytes() for name in ("none", *ATTACKS)}
    assert len(set(changes.values())) == len(changes)


def test_a_scaled_update_moves_the_sum_that_far(ranking):
    """Honest updates are the same in round 1: what differs is nine times the attacker's."""
    share = 1 - _weights(ranking)
    honest, free = ranking("none").changes[0], ranking("free-ride").changes[0]
    scaled = ranking("scale").changes[0]
    assert 0 < share < 1
    inside = np.abs(10 * (honest - free)) < 1  # nothing of it reached the limit of a coordinate
    assert np.allclose((scaled - free)[inside], 10 * (honest - free)[inside], atol=1e-4)


def _weights(ranking):
    honest, free = ranking("none").changes[0], ranking("free-ride").changes[0]
    return float(free @ honest / (honest @ honest))


def test_ten_boosted_products_fill_others_lists(ranking):
    attacked, honest = ranking("promote-ten"), ranking("none")
    shown, usual = attacked.exposures(attacked.targets), honest.exposures(attacked.targets)
    assert max(shown) > 4 * max(usual)
    assert "retailer-0" not in attacked.judged


def test_a_demoted_best_seller_leaves_the_lists(ranking):
    attacked, honest = ranking("demote"), ranking("none")
    shown, usual = attacked.exposures(attacked.targets), honest.exposures(attacked.targets)
    assert min(shown) < 0.5 * min(usual)


def test_a_claimed_weight_decides_the_model(ranking):
    assert ranking("weight").samples[0] > 10 * ranking("none").samples[0]
    metric = "ndcg@10_expected"
    found = [ranking(name).sums.ratios[metric].value for name in ("none", "sign-flip", "weight")]
    assert found[0] > found[1] > found[2]


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "ranking"])
@pytest.mark.slow
def test_other_families_are_harmed_too(family):
    report = poison([family], [(5, 1)])
    rows = {row.attack: row for row in report.rows}
    assert rows.keys() == {"none"} | {a.name for a in ATTACKS.values() if not a.about_products}
    assert rows["weight"].value != rows["none"].value
    json.dumps(report.to_json(), allow_nan=False)


def test_poison_knows_no_federation_of_a_task():
    result = CliRunner().invoke(attack, ["--poison", "--task", "transfer"])
    assert result.exit_code == 2
    assert "no federation of task" in result.output
