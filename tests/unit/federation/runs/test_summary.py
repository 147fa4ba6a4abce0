import math
from dataclasses import replace
from pathlib import Path

import pytest

from securefl.audit.report.page import assemble, render
from securefl.config.load import MODES
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.runs.repeat import summarise_runs
from securefl.federation.runs.result import MemberResult, RunResult
from securefl.federation.runs.summary import gain, summarise
from support.run_privacy import PRIVACY


def result(metric="hr@10", members=((0.35, 0.40), (0.30, 0.33)), baseline=0.2, **changes):
    """A run whose members reach (alone, federated)."""

    def arms(alone, federated):
        return {
            "federated": {metric: federated},
            "alone": {metric: alone},
            "pooled": {metric: federated},
            "naive": {metric: baseline},
        }

    alone = sum(a for a, _ in members) / len(members)
    federated = sum(f for _, f in members) / len(members)
    base = RunResult(
        task="recommendation",
        mode="plain",
        seed=0,
        rounds=20,
        best_round=12,
        members=tuple(
            MemberResult(f"retailer-{i}", 100, arms(*pair)) for i, pair in enumerate(members)
        ),
        seconds=1.0,
        metrics=arms(alone, federated),
        privacy=None,
        run_dir="runs/a b",
    )
    return replace(base, **changes)


@pytest.mark.parametrize(
    ("candidate", "reference", "higher", "expected"),
    [(0.44, 0.40, True, 10.0), (0.36, 0.40, True, -10.0), (0.09, 0.10, False, 10.0)],
)
def test_a_positive_gain_is_always_better(candidate, reference, higher, expected):
    assert gain(candidate, reference, higher) == pytest.approx(expected)


def test_no_gain_over_nothing():
    assert math.isnan(gain(0.4, 0.0, higher_is_better=True))


def test_a_federation_that_helps():
    said = summarise(result()).conclusion
    assert said == (
        "The federation helps: HR@10 is 12.3 % better than training alone (0.365 against 0.325), "
        "and better at 2 of 2 retailers."
    )


def test_a_federation_that_helps_not_everybody_says_so():
    said = summarise(result(members=((0.30, 0.40), (0.40, 0.39)))).conclusion
    assert "better at 1 of 2 retailers" in said


def test_a_federation_that_hurts_is_not_praised():
    said = summarise(result("mape", members=((0.10, 0.12), (0.10, 0.09)))).conclusion
    assert said.startswith("The federation does not help: MAPE is 5.0 % worse")
    assert "worse at 1 of 2 retailers" in said


@pytest.mark.parametrize("federated", [0.3501, 0.3499, 0.35])
def test_a_small_difference_is_parity(federated):
    assert summarise(result(members=((0.35, federated),))).conclusion.startswith("Parity: ")


@pytest.mark.parametrize(
    ("federated", "said"),
    [
        ((0.40, 0.41, 0.40), "+0.1033 ± 0.0033 of HR@10 (standard error over 3 retailers), which"),
        ((0.33, 0.30, 0.30), "it would be told from none with 4.0 times as many customers."),
        ((0.29, 0.30, 0.30), "more customers would show no gain"),
        ((0.50, 0.10001, 0.3), "no federation would be large enough"),
    ],
)
def test_a_budget_says_what_joining_is_worth(federated, said):
    """With the standard error over retailers, and the customers that would make it seen."""
    members = tuple((0.30, one) for one in federated)
    private = result(members=members, privacy=PRIVACY)
    assert said in summarise(private).conclusion
    assert "standard error" not in summarise(result(members=members)).conclusion


def test_a_gain_within_the_spread_over_seeds_is_parity():
    runs = [result(members=((0.30, f),), seed=s) for s, f in enumerate((0.24, 0.30, 0.40))]
    summary = summarise(summarise_runs(runs, Path("runs/x")))
    assert summary.conclusion.startswith("Parity: ")
    steady = [result(members=((0.30, f),), seed=s) for s, f in enumerate((0.40, 0.41, 0.40))]
    assert summarise(summarise_runs(steady, Path("runs/x"))).conclusion.startswith(
        "The federation helps"
    )


def test_an_obvious_rule_that_is_better_is_not_hidden():
    assert "The baseline (popularity) does better: 0.500." in (
        summarise(result(baseline=0.5)).conclusion
    )
    assert "obvious" not in summarise(result(baseline=0.1)).conclusion


def test_without_references_nothing_is_claimed():
    plain = result()
    arms = {arm: plain.metrics[arm] for arm in ("federated", "naive")}
    members = tuple(replace(m, metrics=arms) for m in plain.members)
    summary = summarise(replace(plain, metrics=arms, members=members))
    assert "nothing to say" in summary.conclusion
    assert summary.tables[0].columns == ("Retailer", "Federated", "Popularity")


def test_no_case_no_verdict():
    assert summarise(result(members=((math.nan, math.nan),))).conclusion == (
        "There was no case to judge HR@10 by."
    )


def test_the_table_by_retailer():
    (table,) = summarise(result()).tables
    assert table.columns[:4] == ("Retailer", "Alone", "Federated", "Gain")
    assert table.rows[0] == ("retailer-0", "0.350", "0.400", "+14.3 %", "0.400", "0.200")
    assert table.totals[0][0] == "All retailers"


def test_the_spread_row_of_a_repeated_run():
    runs = [result(members=((0.30, f),), seed=s) for s, f in enumerate((0.40, 0.42))]
    (table,) = summarise(summarise_runs(runs, Path("runs/x"))).tables
    assert table.totals[1][:4] == ("± over 2 seeds", "0.000", "0.014", "4.7 %")


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_says_how_customers_were_protected(mode):
    said = summarise(result(mode=mode)).protection
    assert said.startswith(f"no differential privacy; mode {mode}: ")


def test_the_next_command_can_be_pasted():
    assert summarise(result()).next_command == "securefl run 'runs/a b/config.toml' --repeat 3"


def test_zero_demand_and_the_floor_are_named():
    run = result("mape", members=((0.2, 0.1),))
    run.metrics["federated"].update({"mape_floor": 0.05, "zero_demand": 0.015})
    notes = " ".join(summarise(run).notes)
    assert "1.5 % of cases in which nothing was sold" in notes
    assert "5.0 % (MAPE)" in notes


def test_a_run_without_figures_says_where_they_are():
    """The summary, its report and a comparison with another run do without them."""
    members = tuple(MemberResult(f"retailer-{i}", None, {}) for i in range(2))
    run = replace(result(mode="secure"), metrics={}, members=members)
    summary = summarise(run)
    assert summary.tables == ()
    assert "figures.json of its own" in summary.conclusion
    names = tuple(member.name for member in members)
    record = RoundRecord(1, names, names, loss=0.5, validation={}, best=True, seconds=1.0)
    page = render(assemble(run, [record], None, result()))
    assert "Per-retailer figures stay with the retailers" in page


def test_a_run_that_ended_early_says_why_and_which_round_counts():
    said = summarise(result(rounds=14, agreed_rounds=40)).notes
    assert said[0] == (
        "Training ended after 14 of 40 rounds, as agreed (patience): round 12 is the best on"
        " validation, and 2 more did not improve on it. Its model is the result."
    )
    assert not any("Training ended" in note for note in summarise(result()).notes)


def test_simulation_only_figures_are_labelled():
    """In mode secure all; in mode plain the centralized baseline alone."""
    seen = result(mode="secure", simulation_only=("federated", "alone", "validation"))
    assert "Only a simulation can see these figures" in summarise(seen).notes[0]
    pooled = result(simulation_only=("pooled",))
    assert summarise(pooled).notes[0] == "Only a simulation can train on all data in one place."
    assert not any("simulation" in note for note in summarise(result()).notes)
