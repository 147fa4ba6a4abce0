import math

import pytest

from securefl.config.metric_labels import LABELS, shown, title
from securefl.ml.metrics.forecasting import forecast_tally
from securefl.tasks.demand.task import DemandTask
from securefl.tasks.recommendation.rating_task import RatingTask
from securefl.tasks.recommendation.task import RecommendationTask

TASKS = [DemandTask, RatingTask, RecommendationTask]


@pytest.mark.parametrize("task", TASKS)
def test_labels_and_tasks_agree_on_which_way_is_better(task):
    for metric in task.metrics:
        assert LABELS[metric.name].higher_is_better == metric.higher_is_better


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_headline(task):
    assert any(LABELS[metric.name].headline for metric in task.metrics)


def test_a_figure_that_is_no_score_has_no_label():
    import numpy as np

    tally = forecast_tally(np.ones(3), np.ones(3))
    assert tally.ratios.keys() - LABELS.keys() == {"mape_floor", "wape_floor", "zero_demand"}


def test_headings_fit_a_terminal():
    for label in (found for found in LABELS.values() if found.headline):
        assert len(f"{label.title} (higher is better): {label.meaning}") <= 80


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [("mape", 0.1234, "12.3 %"), ("hr@10", 0.4014, "0.401"), ("accuracy", math.nan, "-")],
)
def test_values_as_people_read_them(metric, value, text):
    assert shown(metric, value) == text


def test_a_metric_without_a_label_keeps_its_name():
    assert title("wape_floor") == "wape_floor"
    assert title("ndcg@10") == "NDCG@10"
