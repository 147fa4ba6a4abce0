import hashlib
from itertools import count

import pytest

from securefl.audit.attacks.report import AttackReport, bounded
from securefl.audit.dossier.evidence import read_attack
from securefl.privacy.noise import csprng
from securefl_cli.commands.audit import attack as audit_attack

FRESH = csprng._counter_mode

CONFIG = """\
task = "recommendation"
rounds = 3

[data]
source = "tutorial"
retailers = 3
customers = 60
interactions = [900, 900]

[model]
name = "profile"
rank = 2

[recommendation]
min_households = 3
min_products = 4
negatives = 5

[privacy]
dp = "local"
epsilon = 2.0
sampling_rate = 1.0
insecure_testing_seed = 1

[engine]
workers = 1
"""


@pytest.fixture
def small(here):
    path = here / "small.toml"
    path.write_text(CONFIG)
    return path


@pytest.mark.slow
def test_an_honest_run_passes_and_the_json_says_what_was_found(cli, small, here):
    outcome = cli("audit", "attack", small, "--canaries", "1000", "--format", "json")
    assert outcome.code == 0
    report = outcome.json
    assert report["verdict"] == "pass"
    assert (report["unit"], report["delta"], report["canaries"]) == ("customer", 1e-5, 1000)
    assert 1.9 < report["epsilon"] <= 2.0
    names = [attack["name"] for attack in report["attacks"]]
    assert len(names) == len(set(names)) == 15
    for attack in report["attacks"]:
        assert set(attack) == {"name", "gain", "lower_bound", "claim", "verdict", "numbers"}
        assert attack["verdict"] in {"holds", "no claim"}
        if attack["claim"] is not None:
            assert 0 <= attack["lower_bound"] <= attack["claim"]
    protections = {name.partition(", ")[2] for name in names if name.startswith("product rows")}
    assert protections == {
        *("plain update", "masked update", "sum of four members", "private update")
    }
    assert report["not_shown"]
    # Nothing is left behind, and no book of a retailer was opened.
    assert [path.name for path in here.iterdir()] == ["small.toml"]
    (here / "attack.json").write_text(outcome.out)
    assert read_attack(here / "attack.json").canaries == 1000  # as the dossier reads it
    assert "Training" in outcome.err


def test_attack_on_demand_is_on_its_series(cli, monkeypatch):
    """No customer has a gradient there; what is released is attacked all the same.

    With the same keys each time: a bound at 95 % is above an honest claim once in twenty draws.
    """
    keys = (hashlib.sha256(b"%d" % number).digest() for number in count())
    monkeypatch.setattr(csprng, "_counter_mode", lambda _: FRESH(next(keys)))
    words = ("--task", "demand", "--rounds", "2", "--epsilon", "2", "--canaries", "600")
    outcome = cli("audit", "attack", *words, "--format", "json")
    assert outcome.code == 0
    (attack,) = outcome.json["attacks"]
    assert attack["name"] == "canaries in noised series"
    assert 0 < attack["lower_bound"] <= attack["claim"]


@pytest.fixture
def reported(monkeypatch):
    """A report in place of the attacks."""

    def report(bound):
        found = bounded("canaries, f-DP", "494 of 500 guesses right", bound, 2.0, {})
        made = AttackReport("north", "customer", 2.0, 1e-5, 500, 3, 0, 0.95, 1.0, (found,))
        monkeypatch.setattr("securefl.audit.attacks.run.attack", lambda *_, **__: made)

    return report


def test_a_refuted_claim_is_exit_code_1_and_said_aloud(cli, small, reported):
    reported(5.5)
    outcome = cli("audit", "attack", small, "--quiet")
    assert outcome.code == 1
    assert "EXCEEDED" in outcome.out
    assert "A CLAIM WAS REFUTED" in outcome.out
    assert cli("audit", "attack", small, "--quiet", "--format", "json").json["verdict"] == "fail"


def test_a_claim_that_stands_is_exit_code_0_and_the_limits_are_named(cli, small, reported):
    reported(1.5)
    outcome = cli("audit", "attack", small, "--quiet")
    assert outcome.code == 0
    assert "no claim was refuted" in outcome.out
    assert "This does not show:" in outcome.out
    assert "1.50" in outcome.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--epsilon", "0"), ("privacy.epsilon",)),
        (("--canaries", "10"), ("--canaries",)),
        (("--data", "files"), ("config init --data files",)),
    ],
)
def test_what_cannot_be_attacked_is_one_line(cli, options, words):
    cli("audit", "attack", *options).refused(*words)


def test_the_table_fits_a_terminal(small, reported, cli, monkeypatch):
    reported(1.5)
    monkeypatch.setenv("COLUMNS", "80")
    lines = cli("audit", "attack", small, "--quiet").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert audit_attack.attack.name == "attack"
