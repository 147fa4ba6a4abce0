"""A least number of members by task: what two competitors would tell each other is not summed."""

from datetime import timedelta

import pytest

from securefl.config.load import load_config
from securefl.consortium.agreement.model import from_tree, new_agreement, to_tree
from securefl.consortium.agreement.signatures import check, signed_by
from securefl.consortium.agreement.storage import agreement_toml, read_draft, write_agreement
from securefl.consortium.agreement.versions import amended
from securefl.consortium.keys.parties import party_of
from securefl.errors import AgreementError


def drafted(keys, now, task, least, minimum):
    source = "complete-journey" if task == "pricing" else "tutorial"
    config = load_config(
        None, {"task": task, "data": {"source": source}, "cohort": {"minimum": minimum}}
    )
    return new_agreement(
        "grocers",
        tuple(party_of(name, key) for name, key in keys.items()),
        config,
        created=now - timedelta(days=1),
        expires=now + timedelta(days=30),
        least_members=least,
    )


@pytest.mark.parametrize("task", ["demand", "pricing"])
def test_fewer_than_demanded_are_not_agreed(keys, now, task):
    """Where a sum of too few would be possible, there is no agreement to run under."""
    with pytest.raises(AgreementError, match=rf"least_members: {task} needs 5 .* allows 3"):
        drafted(keys, now, task, {task: 5}, 3)
    assert drafted(keys, now, task, {task: 5}, 5).least == 5


def test_another_tasks_number_does_not_bind(keys, now):
    assert drafted(keys, now, "recommendation", {"demand": 5}, 3).least == 1


def test_a_task_that_nobody_knows_is_refused(keys, now):
    """A misspelt task would bind nothing."""
    with pytest.raises(AgreementError, match="demnad"):
        drafted(keys, now, "demand", {"demnad": 5}, 3)


def test_too_few_that_are_left_start_nothing(keys, now):
    agreement = drafted(keys, now, "demand", {"demand": 5}, 5)
    assert len(check(signed_by(agreement, keys), now).members) == 5
    four = dict(list(keys.items())[:4])
    fewer = drafted(four, now, "demand", {"demand": 5}, 5)
    with pytest.raises(AgreementError, match="4 members are left, and a round needs 5"):
        check(signed_by(fewer, four), now)


def test_the_number_is_signed_and_survives_an_amendment(keys, now, tmp_path):
    """It is in the file and under the signatures; a version with less is another agreement."""
    agreement = drafted(keys, now, "demand", {"demand": 5, "pricing": 4}, 5)
    write_agreement(tmp_path / "agreement.toml", agreement)
    assert read_draft(tmp_path / "agreement.toml") == agreement
    assert "[least_members]" in agreement_toml(agreement)
    following = amended(signed_by(agreement, keys), created=now)
    assert following.least_members == agreement.least_members
    smaller = to_tree(agreement) | {"least_members": {"demand": 2}}
    assert from_tree(smaller, "x") != agreement


def test_agreements_without_it_keep_their_bytes(agreement):
    assert "least_members" not in to_tree(agreement)
