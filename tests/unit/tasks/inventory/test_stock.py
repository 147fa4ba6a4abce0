import numpy as np
import pytest
from scipy.stats import norm

from securefl.tasks.inventory.settings import InventorySettings
from securefl.tasks.inventory.simulation import (
    ReorderLevels,
    at_level,
    order_levels,
    simulate,
    stock_metrics,
)

LEVELS = (0.1, 0.5, 0.9, 0.975)


def levels_of(reorder, full, weeks):
    return ReorderLevels(np.full((1, weeks), float(reorder)), np.full((1, weeks), float(full)))


def test_the_critical_level_is_what_weighs_shortage_against_left_over():
    settings = InventorySettings(holding_cost=1.0, shortage_cost=3.0)
    assert settings.critical_level == 0.75
    # A normal demand: any other level costs more.
    draws = np.random.default_rng(0).normal(100, 20, (1, 40_000))
    costs = []
    for level in (0.5, 0.65, 0.75, 0.85, 0.95):
        stocked = ReorderLevels(*(np.full(draws.shape, norm.ppf(level, 100, 20)),) * 2)
        weeks = simulate(draws, stocked, settings)
        costs.append(stock_metrics(weeks, draws.shape[1], settings).values()["stock_cost"])
    assert costs.index(min(costs)) == 2


def test_a_level_between_two_is_exact_for_a_normal_law():
    quantiles = norm.ppf(LEVELS, 50, 7).reshape(1, 1, -1)
    for level in (0.1, 0.3, 0.8, 0.93, 0.975):
        assert at_level(quantiles, LEVELS, level) == pytest.approx(norm.ppf(level, 50, 7))


def test_each_newsvendor_week_is_stocked_anew():
    settings = InventorySettings(shortage_cost=4.0)
    weeks = simulate(np.array([[8.0, 12.0, 3.0]]), levels_of(10, 10, 3), settings)
    assert weeks.served.tolist() == [[8, 10, 3]]
    assert weeks.left.tolist() == [[2, 0, 7]]
    found = stock_metrics(weeks, 2, settings).values()
    assert found["stock_cost"] == pytest.approx((7 + 4 * 2) / 15)
    assert found["fill_rate"] == pytest.approx(13 / 15)
    assert found["in_stock"] == 0.5
    assert found["left_over"] == pytest.approx(7 / 15)


def test_an_order_is_placed_at_s_fills_up_to_big_s_and_arrives_after_its_lead_time():
    settings = InventorySettings(policy="reorder", lead_time=1, order_cost=5.0)
    demand = np.array([[6.0, 6.0, 6.0, 6.0]])
    weeks = simulate(demand, levels_of(reorder=5, full=10, weeks=4), settings)
    # 10 in stock; 4 left; 4 <= 5: six ordered, and two are missing meanwhile; six arrive, ...
    assert weeks.orders.tolist() == [[0, 1, 0, 1]]
    assert weeks.served.tolist() == [[6, 4, 6, 0]]
    assert weeks.left.tolist() == [[4, 0, 0, 0]]
    found = stock_metrics(weeks, 4, settings).values()
    assert found["stock_cost"] == pytest.approx((4 + 4 * 8 + 2 * 5) / 24)


def test_what_is_backordered_is_served_later_and_nothing_gets_lost():
    demand = np.random.default_rng(1).poisson(20, (3, 60)).astype(float)
    stocked = ReorderLevels(np.full(demand.shape, 35.0), np.full(demand.shape, 60.0))
    for lead_time in (0, 1, 3):
        lost, waiting = (
            simulate(
                demand,
                stocked,
                InventorySettings(policy="reorder", lead_time=lead_time, unmet=unmet),
            )
            for unmet in ("lost", "backordered")
        )
        assert lost.served.sum() >= waiting.served.sum()
        assert (lost.served <= demand).all()
        assert ((waiting.left > 0) <= (waiting.served == demand)).all()
    assert (waiting.served < demand).any()


def test_without_lead_time_and_order_cost_the_stock_begins_each_week_at_big_s():
    settings = InventorySettings(policy="reorder", lead_time=0, order_cost=0.0)
    demand = np.random.default_rng(2).poisson(20, (2, 30)).astype(float)
    stocked = ReorderLevels(np.full(demand.shape, 26.0), np.full(demand.shape, 26.0))
    weeks = simulate(demand, stocked, settings)
    assert np.array_equal(weeks.left, np.maximum(26 - demand, 0))


def test_an_order_lasts_for_the_lead_time_and_holds_an_economic_quantity():
    settings = InventorySettings(
        policy="reorder", lead_time=2, order_cost=200.0, holding_cost=1.0, shortage_cost=9.0
    )
    quantiles = norm.ppf(LEVELS, 100, 10).reshape(1, 1, -1)
    found = order_levels(quantiles, LEVELS, settings)
    assert found.reorder == pytest.approx(3 * norm.ppf(0.9, 100, 10))
    assert found.order_up_to - found.reorder == pytest.approx(np.sqrt(2 * 200 * 100))
    small = settings.model_copy(update={"order_cost": 50.0})
    assert order_levels(quantiles, LEVELS, small).order_up_to == pytest.approx(found.reorder)
