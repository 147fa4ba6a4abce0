"""One unit moves what a retailer releases by at most the stated sensitivity, and nothing else."""

import math

import numpy as np
import pandas as pd
import pytest

from securefl.config.load import load_config, merge
from securefl.data.tables import RetailerTables
from securefl.federation.scores.bounded import bounded_integers, sensitivity
from securefl.ml.parameters import clear_local, load_shared
from securefl.privacy.score_plan import score_table
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.purchase_lines import pair_hash
from securefl.tasks.registry import create_task
from support.neighbours import REFUSED, SLACK, Case, Retailer, cases, compared, largest
from support.neighbours_data import BASE, HIGHEST, KINDS, LOWEST, adversary, receipts

BY_DEFAULT = list(cases(("auto",)))
QUICK = [case for case in BY_DEFAULT if case.dp == "local" or case.unit == "member"]
EVERY = list(cases())


def named(case):
    return "-".join((case.task, case.model, case.unit, case.dp, case.path))


def holds(found):
    if found.where == REFUSED:
        return
    assert 0.0 < found.ratio <= SLACK, found
    assert math.isnan(found.others) or found.others == 0.0, found


@pytest.mark.parametrize("case", QUICK, ids=named)
def test_one_unit_moves_at_most_the_sensitivity(case):
    """With the weights that all agree on, and two adversaries; the slow test has all."""
    found = largest(case, kinds=("everything", "gigantic"), customers=2)
    assert found.where != REFUSED
    holds(found)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["agreed", "hostile"])
@pytest.mark.parametrize("case", EVERY, ids=named)
def test_no_unit_touches_another_on_any_path(case, weights):
    """Every path, every adversary, and weights that a coordinator made up."""
    if case.path == "series" and weights == "hostile":
        pytest.skip("series are released before any weight is used")
    holds(largest(case, hostile=weights == "hostile"))


def test_every_model_that_can_be_private_is_compared():
    """A task that is registered is in the table without being named in it."""
    from securefl.config.task_registry import TASKS, declaration

    known = {(case.task, case.model, case.unit) for case in EVERY}
    declared = {
        (task, choice.name, unit)
        for task in TASKS
        for choice in declaration(task).models
        for unit in choice.units
    }
    assert known == declared


class _Ranked(Retailer):
    """A retailer whose local rows begin in the order of the customers, as they once did."""

    def _parts(self, learner):
        import torch

        from support import neighbours

        kept = neighbours.round_training

        def ranked(learner, model, *others):
            trained = kept(learner, model, *others)
            torch.manual_seed(1)
            with torch.no_grad():
                model.customers.weight.normal_(std=0.02)
            return trained

        neighbours.round_training = ranked
        try:
            return super()._parts(learner)
        finally:
            neighbours.round_training = kept


@pytest.mark.parametrize("model", ["mf", "ncf"])
def test_rows_drawn_by_rank_would_be_found(model):
    """The comparison sees the fault that it is there for: all others' rows move."""
    base = receipts(BASE, seed=9)
    more = pd.concat([base, adversary("copy", 16, base)])
    for kind, finds in ((_Ranked, True), (Retailer, False)):
        retailer = kind(Case("recommendation", model, "customer", "local", "auto"))
        found = compared(retailer.released(more), retailer.released(base), 1.0, "")
        assert (found.others > 1e-3) is finds
        assert finds or found.ratio <= SLACK


def share_of(customer):
    return int(pair_hash(np.array([customer]), np.array([1 << 16]))[0] % np.uint64(1 << 16)) / 65536


def test_one_hash_takes_no_other_customers_place():
    """Where no hash was below the share, the smallest one decided, and she replaced another."""
    case = Case("transfer", "transfer", "customer", "local", "auto")
    share = case.config.cuts.customers
    above = [customer for customer in range(200) if share_of(customer) >= share]
    smallest = min(above, key=share_of)
    others = [customer for customer in above if customer != smallest][:6]
    retailer = Retailer(case)
    base = receipts(others, seed=9)
    more = pd.concat([base, adversary("everything", smallest, base)])
    whole, less = retailer.released(more), retailer.released(base)
    assert len(whole.parts) == len(less.parts) == 0


@pytest.mark.parametrize("task", ["demand", "inventory"])
@pytest.mark.parametrize("amount", [1e300, 1.7e308, np.inf, np.nan])
def test_no_quantity_makes_a_series_infinite(task, amount):
    model = "forecaster" if task == "demand" else "quantile-forecaster"
    retailer = Retailer(Case(task, model, "customer", "local", "series"))
    base = receipts(BASE, seed=9)
    lines = adversary("flood", 16, base).assign(quantity=amount)
    whole, less = retailer.released(pd.concat([base, lines])), retailer.released(base)
    assert np.isfinite(whole.total).all()
    assert np.linalg.norm(whole.total - less.total) <= SLACK


@pytest.mark.parametrize(
    "task", [case for case in BY_DEFAULT if case.unit == "customer"], ids=named
)
def test_a_retailer_without_a_customer_takes_part(task):
    """Were it refused, its refusal would tell whether a certain customer is there."""
    retailer = Retailer(task)
    nothing = receipts(BASE, seed=9)[:0]
    data = retailer.task.prepare(RetailerTables("retailer-0", nothing), retailer.facts)
    assert data.units == 0
    assert not retailer.released(nothing).parts.any()


def test_a_large_delta_is_refused_without_a_count():
    """It is compared with the agreed number, and the text has no other."""
    from securefl.errors import ConfigError
    from securefl.privacy.plan import PrivacyPlan

    tree = {"privacy": {"dp": "local", "epsilon": 1.0, "delta": 0.2}}
    plan = PrivacyPlan.of(load_config(None, merge({"task": "churn"}, tree)))
    settings = plan.settings
    assert plan.agreed_units == math.ceil(settings.expected_batch / settings.sampling_rate)
    with pytest.raises(ConfigError, match=r"privacy.delta: 0.2 is too large for north"):
        plan.check_delta("north")


def test_a_rating_outside_the_agreed_is_left_out_alone():
    """One wrong record of one customer once refused the whole table."""
    retailer = Retailer(Case("recommendation", "rating-ncf", "customer", "local", "auto"))
    base = receipts(BASE, seed=9)
    wrong = adversary("copy", 16, base).assign(rating=99)
    before, after = retailer.released(base), retailer.released(pd.concat([base, wrong]))
    assert np.array_equal(before.parts, after.parts)
    assert create_task(retailer.config).hides_units


SCORED = [case for case in BY_DEFAULT if score_table(case.config) and case.dp == "local"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # amounts that are no numbers
@pytest.mark.parametrize("weights", ["agreed", "hostile"])
@pytest.mark.parametrize("case", SCORED, ids=named)
def test_no_extreme_customer_moves_a_score(case, weights):
    """Bounded scores move by the bound at most, under weights that a coordinator made up too."""
    retailer = Retailer(case, hostile=weights == "hostile")
    table, base = score_table(case.config), receipts(BASE, seed=9)

    def integers(lines):
        tables = RetailerTables("retailer-0", lines.reset_index(drop=True))
        data = retailer.task.prepare(tables, retailer.facts)
        learner = LocalProblem(case.config, retailer.task, retailer.facts, data)
        model = learner.fresh_model("init")
        clear_local(model)
        load_shared(model, retailer.shared)
        return bounded_integers(table, learner.score_units(model), 1 << 20)

    before, bound = integers(base), sensitivity(table).l2
    assert not integers(base[:0]).any()
    assert before[-1] > 0
    for kind in KINDS:
        for customer in (LOWEST, HIGHEST):
            lines = adversary(kind, customer, base)
            more = pd.concat([base, lines[: 1 if case.unit == "record" else None]])
            moved = integers(more) - before
            assert np.linalg.norm(moved) <= bound * (1 + 1e-12), (kind, customer)
