import math
from dataclasses import replace

import pytest

from securefl.federation.coordinator.rounds import RoundRecord
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian
from securefl_cli.rendering.progress import figures

PRIVATE = ("--dp", "local", "--epsilon", "4")


def test_a_plan_says_what_each_round_will_have_spent(cli):
    plan = cli("budget", "plan", *PRIVATE, "--rounds", "3", "--format", "json").json
    assert (plan["unit"], plan["epsilon"], plan["delta"]) == ("customer", 4.0, 1e-5)
    assert [entry["round"] for entry in plan["rounds"]] == [1, 2, 3]
    for entry in plan["rounds"]:
        event = SampledGaussian(plan["noise_multiplier"], plan["sampling_rate"], entry["steps"])
        assert entry["epsilon"] == pytest.approx(epsilon_of([event], plan["delta"]))
    spent = [entry["epsilon"] for entry in plan["rounds"]]
    assert spent == sorted(spent)
    assert 3.98 < spent[-1] <= 4.0


def test_a_plan_for_records_says_what_customers_have_of_it(cli):
    options = (*PRIVATE, "--unit", "record", "--data", "tutorial", "--rounds", "2")
    plan = cli("budget", "plan", *options, "--format", "json").json
    assert (plan["unit"], plan["protects"], plan["records_per_customer"]) == (
        *("record", "one rating"),
        64,
    )
    assert [entry["customer_epsilon"] for entry in plan["rounds"]] == [None, None]
    shown = cli("budget", "plan", *options).out
    assert "a record is one rating; of a customer, 64 count at most" in shown
    assert "no bound below 20" in shown


def test_a_plan_for_customers_has_one_epsilon(cli):
    plan = cli("budget", "plan", *PRIVATE, "--rounds", "2", "--format", "json").json
    assert plan["records_per_customer"] is None
    for entry in plan["rounds"]:
        assert entry["customer_epsilon"] == entry["epsilon"]


def test_a_demand_plan_releases_one_noised_series_a_round(cli):
    plan = cli("budget", "plan", *PRIVATE, "--task", "demand", "--format", "json").json
    assert (plan["sampling_rate"], plan["rounds"][0]["steps"]) == (1.0, 1)
    assert "series" in plan["mechanism"]


def test_more_rounds_need_more_noise(cli):
    few, many = (
        cli("budget", "plan", *PRIVATE, "--rounds", rounds, "--format", "json").json
        for rounds in ("2", "8")
    )
    assert many["noise_multiplier"] > few["noise_multiplier"]


def test_the_table_has_a_row_a_round_and_says_how_much_noise(cli):
    outcome = cli("budget", "plan", *PRIVATE, "--rounds", "2")
    assert outcome.code == 0
    assert "epsilon 4, delta 1e-05 a customer" in outcome.out
    assert [line.split()[0] for line in outcome.out.splitlines() if line[:1].isdigit()] == list(
        "12"
    )
    assert "times the clip norm" in outcome.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("needs a budget",)),
        (("--dp", "local"), ("needs a budget", "--epsilon")),
        (("--epsilon", "4"), ("--dp local",)),
        (("--dp", "local", "--epsilon", "0"), ("privacy.epsilon",)),
        ((*PRIVATE, "--unit", "record"), ("cannot hide a record",)),
        (("--dp", "lokal"), ("did you mean 'local'",)),
    ],
)
def test_what_makes_no_plan_is_one_line(cli, options, words):
    cli("budget", "plan", *options).refused(*words)


def test_the_progress_line_shows_what_was_spent_in_place_of_the_loss():
    record = RoundRecord(2, ("a",), ("a",), 0.5, {"hr@10": 0.25}, True, 1.0)
    assert "loss 0.5" in figures(record)
    spent = figures(replace(record, epsilon=1.2345))
    assert spent.startswith("epsilon 1.234")
    assert "loss" not in spent
    record = replace(record, epsilon=1.2345, customer_epsilon=7.0)
    assert "epsilon 1.234 a record, 7.000 a customer" in figures(record)
    unknown = replace(record, customer_epsilon=math.inf)
    assert "a record, no bound below 20 a customer" in figures(unknown)
