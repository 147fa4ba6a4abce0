"""A member's policy: what it allows, and what a wrong file says."""

import pytest

from securefl.config.load import load_config, merge
from securefl.consortium.ledger.policy import in_words, load_policy, policy_digest, policy_of
from securefl.errors import ConfigError

BASE = """\
version = 1
data_set = "customers"

[cap.customer]
epsilon = 8.0
delta = 1e-5
"""
PRIVATE = {"privacy": {"dp": "local", "epsilon": 4.0, "delta": 1e-5}}


@pytest.fixture
def policy(tmp_path):
    def make(text=BASE, name="policy.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return make


def refusal(path, members=5, **changes):
    return load_policy(path).refusal(load_config(None, merge(PRIVATE, changes)), members)


def with_keys(*lines):
    return BASE.replace("\n\n", "\n" + "\n".join(lines) + "\n\n", 1)


def test_what_a_policy_does_not_forbid_is_allowed(policy):
    assert refusal(policy()) is None


@pytest.mark.parametrize(
    ("line", "changes", "reason"),
    [
        ('tasks = ["demand"]', {}, "task"),
        ('modes = ["secure"]', {"mode": "plain"}, "mode"),
        ("", {"mode": "plain"}, "mode"),
        ("", {"privacy": {"dp": "none", "epsilon": None}}, "dp"),
        ("", {"privacy": {"delta": 1e-4}}, "delta"),
        ("", {"task": "demand", "privacy": {"unit": "record"}}, "unit"),
        ("least_members = 6", {}, "members"),
        ("least_threshold = 5", {}, "threshold"),
    ],
)
def test_each_rule_refuses_by_name(policy, line, changes, reason):
    found = refusal(policy(with_keys(line)), **changes)
    assert (found.reason, found.round) == (reason, 0)
    assert in_words(found)


def test_numbers_stand_in_the_reason(policy):
    found = refusal(policy(with_keys("least_members = 6")))
    assert in_words(found) == "5 members are fewer than the 6 of its policy"


def test_a_small_cohort_of_a_large_consortium_is_what_counts(policy):
    path = policy(with_keys("least_members = 6"))
    assert refusal(path, 20, cohort={"fraction": 0.25}).reason == "members"
    assert refusal(path, 20, cohort={"fraction": 0.5}) is None


def test_a_policy_without_a_cap_may_allow_training_without_noise(policy):
    text = 'version = 1\ndata_set = "x"\ndp = ["none"]\n'
    assert refusal(policy(text), privacy={"dp": "none", "epsilon": None}) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "version"),
        ("version = 2\n", "version"),
        (BASE.replace("data_set", "dataset"), "unknown key 'dataset'; did you mean 'data_set'"),
        (BASE.replace("epsilon", "epsilom"), "did you mean 'epsilon'"),
        (BASE.replace("8.0", "-8.0"), "cap.customer.epsilon"),
        (BASE.replace("8.0", "inf"), "cap.customer.epsilon"),
        (BASE.replace("1e-5", "2.0"), "cap.customer.delta"),
        (BASE.replace("customer]", "household]"), "household"),
        (with_keys('dp = ["none", "local"]'), "a cap binds nothing"),
        (with_keys('units = ["record"]'), "'record' has no cap"),
        (with_keys("retention_days = 0"), "retention_days"),
        (with_keys('modes = ["open"]'), "modes"),
        ('version = 1\ndata_set = "x"\n', "state what a unit may lose"),
        ("version = ", "no valid TOML"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_key(policy, text, words):
    with pytest.raises(ConfigError) as caught:
        load_policy(policy(text))
    assert words in str(caught.value)
    assert "policy.toml" in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_a_folder_holds_a_policy_for_each_member(policy, tmp_path):
    policy(BASE, "north.toml")
    assert policy_of(tmp_path, "north").data_set == "customers"
    assert policy_of(policy(), "anybody").data_set == "customers"
    assert policy_of(None, "north") is None
    with pytest.raises(ConfigError, match=r"south\.toml does not exist"):
        policy_of(tmp_path, "south")


def test_a_digest_stands_for_every_key(policy):
    one, same = load_policy(policy()), load_policy(policy(with_keys('modes = ["secure"]')))
    other = load_policy(policy(BASE.replace("8.0", "8.5")))
    assert policy_digest(one) == policy_digest(same) != policy_digest(other)
