"""Product rows under each protection; the masked attack is shown to work once masks are gone."""

from dataclasses import replace

import numpy as np
import pytest

from securefl.audit.attacks.findings import CHANCE, rows_masked, rows_private
from securefl.audit.attacks.rows import masked_rows, plain_rows, private_rows
from securefl.audit.attacks.toy_federation import bought, federation, row_norms
from securefl.audit.attacks.wire import one_round
from securefl.privacy.accounting.calibration import Budget
from support.local_noise import silence


def test_a_plain_update_names_every_product_that_was_sold(tmp_path):
    leak = plain_rows(0, tmp_path / "run", 0.95)
    assert leak.named == leak.products
    assert leak.sold.value == 1.0
    assert leak.chance < 0.5 * leak.products


def test_rows_of_products_that_nobody_bought_do_not_move(tmp_path):
    prepared = federation("plain", 1)
    seen, truth = one_round(prepared, tmp_path / "run"), bought(prepared)
    norms = row_norms(prepared, seen.updates[prepared.members[0].name])
    assert (norms[truth.sold] > 0).all()
    assert not norms[~truth.sold].any()
    assert set(seen.updates) == {member.name for member in prepared.members}
    assert seen.words == {}


@pytest.mark.parametrize("seed", range(3))
def test_a_masked_update_is_at_chance_and_the_sum_is_not(tmp_path, seed):
    masked, total = masked_rows(seed, tmp_path / "run", 0.95, 1 - CHANCE)
    assert rows_masked("rows", masked).holds
    assert abs(masked.named - masked.chance) < 0.4 * masked.chance
    assert total.sold.low > 0.6


def test_a_vector_without_masks_is_not_taken_for_a_masked_one(tmp_path, monkeypatch):
    def unmasked(prepared, path):
        seen = one_round(federation("plain", 0), path)
        integers = {name: np.rint(u * 2.0**40).astype("<i8") for name, u in seen.updates.items()}
        return replace(
            seen,
            updates={name: i.astype(np.float64) for name, i in integers.items()},
            words={name: i.tobytes() for name, i in integers.items()},
        )

    monkeypatch.setattr("securefl.audit.attacks.rows.one_round", unmasked)
    masked, _ = masked_rows(0, tmp_path / "run", 0.95, 1 - CHANCE)
    assert masked.named == masked.products
    assert masked.uniform < CHANCE
    assert not rows_masked("rows", masked).holds


def test_a_private_update_hides_the_one_rating_behind_a_row():
    leak = private_rows(0, Budget(4.0, 1e-5), 0.95)
    assert 3.9 < leak.claim <= 4.0
    finding = rows_private("rows", leak)
    assert finding.holds
    assert leak.sold.high < 0.7


def test_private_training_without_noise_names_the_rare_products(monkeypatch):
    silence(monkeypatch)
    leak = private_rows(0, Budget(1.0, 1e-5), 0.95)
    assert leak.rare.value == 1.0
    assert not rows_private("rows", leak).holds


def test_the_truth_is_what_the_retailers_tables_say():
    prepared = federation("plain", 3)
    truth = bought(prepared)
    assert 50 < truth.sold.sum() < 250
    assert (truth.rare <= truth.sold).all()
    assert truth.rare.sum() > 10
    others = [np.unique(m.examples.tensors[1]) for m in prepared.members[1:]]
    assert all(set(np.flatnonzero(truth.sold)) != set(o.tolist()) for o in others)
