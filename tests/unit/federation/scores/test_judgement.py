"""When a member rejects a model, and when the members together do."""

import math

import numpy as np
import pytest

from securefl.config.schema import ServerSettings
from securefl.config.vote import VoteSettings
from securefl.federation.scores.ballots import Vote, counted
from securefl.federation.scores.judgement import (
    ABSTAIN,
    ACCEPT,
    APART,
    DEPARTMENT,
    DIRECTION,
    EXPOSURE,
    LENGTH,
    ROW,
    TURN,
    WORSE,
    Judge,
    rejected,
)
from securefl.federation.scores.noised_judgement import PublicChange, noised_ballot
from securefl.federation.scores.turn import Part, RoundPart, Turn
from securefl.ml.metrics.sums import Ratio
from securefl.tasks.base import Judged

STRICT = VoteSettings(worse=0.05, exposure=0.5, chance=0.5, row=12.0)
FIFTH = Part(0.2, 5)
JUDGE = Judge(STRICT, higher_is_better=True)
"""With 100 cases, a tenth of the metric may be lost, and a product gain 55 % of the lists."""


def seen(value=0.5, cases=100, department=0.5, listed=(10, 10, 10)):
    parts = {"all": Ratio(value * cases, cases), "department 0": Ratio(department * 40, 40)}
    return Judged(parts, np.array(listed), cases)


def ballot_of(judge, new, accepted):
    """The ballot by the cases alone."""
    return judge.ballot(new, accepted, Turn())


def test_what_stays_as_it_is_gets_accepted():
    assert ballot_of(JUDGE, seen(), seen()) == ACCEPT
    assert ballot_of(JUDGE, seen(0.9, department=0.9), seen()) == ACCEPT


@pytest.mark.parametrize(("value", "ballot"), [(0.46, ACCEPT), (0.44, WORSE), (math.nan, WORSE)])
def test_a_loss_beyond_the_agreed_is_worse(value, ballot):
    assert ballot_of(JUDGE, seen(value), seen()) == ballot


def test_an_error_that_grows_is_worse():
    assert ballot_of(Judge(STRICT, higher_is_better=False), seen(0.6), seen(0.5)) == WORSE
    assert ballot_of(Judge(STRICT, higher_is_better=False), seen(0.4), seen(0.5)) == ACCEPT


def test_few_cases_leave_room_for_chance():
    """A member of 25 cases may lose 15 %, one of 10,000 only 5.5 %."""
    assert ballot_of(JUDGE, seen(0.44, cases=25), seen(0.5, cases=25)) == ACCEPT
    assert ballot_of(JUDGE, seen(0.47, cases=10_000), seen(0.5, cases=10_000)) == WORSE


@pytest.mark.parametrize(("listed", "ballot"), [((64, 10, 10), ACCEPT), ((70, 10, 10), EXPOSURE)])
def test_a_product_that_floods_the_lists_is_seen(listed, ballot):
    assert ballot_of(JUDGE, seen(listed=listed), seen()) == ballot
    assert ballot_of(JUDGE, seen(), seen(listed=listed)) == ballot  # or vanishes from them


def test_a_spoiled_department_is_seen():
    assert ballot_of(JUDGE, seen(department=0.4), seen()) == ACCEPT
    assert ballot_of(JUDGE, seen(department=0.3), seen()) == DEPARTMENT


def test_a_member_without_cases_abstains():
    assert ballot_of(JUDGE, seen(0.1), seen(cases=19)) == ABSTAIN
    assert ballot_of(JUDGE, seen(0.1), seen(math.nan)) == ABSTAIN


def test_a_task_without_lists_is_judged_by_its_metric():
    plain = Judged({"all": Ratio(50.0, 100.0)})
    assert ballot_of(JUDGE, plain, plain) == ACCEPT
    assert ballot_of(JUDGE, Judged({"all": Ratio(30.0, 100.0)}), plain) == WORSE


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ([WORSE, EXPOSURE, DEPARTMENT, ACCEPT, ACCEPT], True),
        ([WORSE, WORSE, ACCEPT, ACCEPT, ACCEPT], False),
        ([WORSE, WORSE, ACCEPT, ABSTAIN, ABSTAIN], True),
        ([WORSE, ABSTAIN, ABSTAIN, ABSTAIN, ABSTAIN], False),
        ([ABSTAIN] * 5, False),
    ],
)
def test_the_quorum_is_of_those_who_voted(said, verdict):
    """And no member rejects alone: the smallest of five cannot stop the others."""
    names = tuple(f"member {n}" for n in range(len(said)))
    ballots = dict(zip(names, said, strict=True))
    counts = counted(STRICT, ballots, names)
    assert rejected(counts, STRICT.quorum) is verdict
    assert sum(counts.values()) == 5
    assert all(ballot in Vote(ballots).reasons for ballot in said)


def test_the_absent_count_as_it_was_agreed():
    names = ("a", "b", "c", "d", "e")
    ballots = dict.fromkeys(names[:2], WORSE) | {"c": ACCEPT}
    strict = STRICT.model_copy(update={"absent": "reject"})
    assert counted(STRICT, ballots, names)[ABSTAIN] == 2
    assert counted(strict, ballots, names)[WORSE] == 4
    vote = Vote(ballots, {}, names[3:])
    assert "no ballot of d, e" in vote.reasons


def turned(own, part, ended, server=None, earlier=None, row=0.0):
    """What a member sees of a round that began at 0."""
    began = np.zeros(len(own), np.float32)
    sent = np.array(own, np.float64), part
    now = RoundPart.of(server or ServerSettings(), sent, began, np.array(ended, np.float32))
    return Turn.of(now, earlier, row)


@pytest.mark.parametrize(
    ("ended", "ballot"),
    [
        ([1.0, 1.0], ACCEPT),
        ([-1.0, 1.0], DIRECTION),
        ([3.0, 3.0], LENGTH),
        ([1.2, -0.4], APART),
        ([0.0, 0.0], ACCEPT),
    ],
)
def test_change_is_compared_with_the_own_update(ended, ballot):
    """A model that did not move is judged by the cases alone."""
    assert JUDGE.ballot(seen(), seen(), turned([1.0, 1.0], FIFTH, ended)) == ballot


def test_own_update_says_nothing_of_other_optimizers():
    turn = turned([1.0, 1.0], FIFTH, [-1.0, -1.0], ServerSettings(optimizer="fedadam"))
    assert JUDGE.by_update(turn) == ABSTAIN
    assert JUDGE.ballot(seen(), seen(), turn) == ACCEPT


def round_of(updates, weights, sent=None):
    """One round as its first member sees it: its part, and the mean of what was sent."""
    mean = np.average(updates if sent is None else sent, axis=0, weights=weights)
    began, part = np.zeros(updates.shape[1], np.float32), Part(weights[0], len(weights))
    return RoundPart.of(ServerSettings(), (updates[0], part), began, mean.astype(np.float32))


@pytest.mark.parametrize("weight", [0.05, 0.2, 0.6])
def test_others_at_right_angles_are_usual_for_each_weight(weight):
    """A small member moves the mean little, and is no less content for it."""
    weights = np.array([weight, *[(1 - weight) / 4] * 4])
    turn = Turn.of(round_of(np.eye(5), weights))
    assert turn.direction == pytest.approx(1.0, abs=1e-6)
    assert JUDGE.by_update(turn) == ACCEPT


@pytest.mark.parametrize("members", [2, 3, 5, 10])
@pytest.mark.parametrize("alike", [0.0, 0.3, 0.45, 0.9])
def test_no_honest_mean_lies_further_apart(members, alike):
    """Whatever updates of one length have in common: the bound of `Part.apart`, and reached."""
    common = np.full((members, 1), math.sqrt(alike))
    updates = np.hstack([common, math.sqrt(1 - alike) * np.eye(members)])
    assert Turn.of(round_of(updates, np.full(members, 1 / members))).apart <= 1.0 + 1e-6
    best = (1 - 1 / max(members - 1, 1)) / 2
    updates = np.hstack([common * 0 + math.sqrt(best), math.sqrt(1 - best) * np.eye(members)])
    turn = Turn.of(round_of(updates, np.full(members, 1 / members)))
    assert turn.apart == pytest.approx(1.0, abs=1e-6)


def test_the_smallest_is_found_by_what_it_did_before():
    """Turned round, a twentieth of all weight hardly shortens the mean; it turns its direction."""
    rng = np.random.default_rng(0)
    weights = np.array([0.3, 0.25, 0.2, 0.2, 0.05])
    own = rng.standard_normal((5, 400))
    before, drawn = round_of(own, weights), rng.standard_normal((5, 400))
    updates = own + 0.3 * drawn
    flipped = updates * np.array([1, 1, 1, 1, -5])[:, None]
    assert JUDGE.by_update(Turn.of(round_of(updates, weights), before)) == ACCEPT
    assert JUDGE.by_update(Turn.of(round_of(updates, weights, flipped))) == ACCEPT
    assert JUDGE.by_update(Turn.of(round_of(updates, weights, flipped), before)) == TURN


LAYERS = (slice(0, 300), slice(300, 320), slice(320, 322))
"""One in which members have nothing in common, one in which they do, and one that is too short."""


def first_round(sizes, flipped=None):
    """A first round of members whose lengths go with the root of their samples."""
    updates = np.random.default_rng(3).standard_normal((len(sizes), 322)) * 0.1
    updates[:, 300:320] += np.linspace(-1, 1, 20)
    updates *= np.sqrt(sizes)[:, None]
    sent = updates * np.where(np.arange(len(sizes)) == flipped, -len(sizes), 1)[:, None]
    return round_of(updates, np.array(sizes) / np.sum(sizes), sent)


@pytest.mark.parametrize("own", [0.3, 0.1, 0.03])
def test_smallest_is_found_in_a_first_round(own):
    """There is no round before it; in one layer all updates of a first round are much alike."""
    others = [(1 - own) * share for share in (0.3, 0.28, 0.24, 0.18)]
    honest, attacked = first_round([own, *others]), first_round([own, *others], flipped=4)
    assert JUDGE.by_update(Turn.of(attacked)) == ACCEPT
    assert JUDGE.by_update(Turn.of(attacked, layers=LAYERS)) == DIRECTION
    assert Turn.of(honest, layers=LAYERS).common == pytest.approx(1.0, abs=0.15)
    assert JUDGE.by_update(Turn.of(honest, layers=LAYERS)) == ACCEPT


def test_short_layers_say_nothing_in_a_first_round():
    """Two numbers agree or not by chance."""
    assert math.isnan(Turn.of(first_round([0.2] * 5), layers=LAYERS[2:]).common)


def test_a_row_that_stands_out_is_rejected_by_any_member():
    """Also where the own update says nothing, as with another optimizer."""
    assert JUDGE.by_update(turned([1.0, 1.0], FIFTH, [1.0, 1.0], row=13.0)) == ROW
    assert JUDGE.by_update(Turn(row=13.0)) == ROW
    assert JUDGE.by_update(Turn(row=11.0)) == ABSTAIN


def test_rows_are_no_reason_unless_agreed():
    """A list of sales has rows that stand out in every honest run."""
    judge = Judge(VoteSettings(), higher_is_better=True)
    assert judge.by_update(turned([1.0, 1.0], FIFTH, [1.0, 1.0], row=1000.0)) == ACCEPT


def test_a_part_of_everything_says_nothing_of_others():
    turn = turned([1.0, 1.0], Part(1.0, 1), [1.0, 1.0])
    assert math.isnan(turn.length)
    assert JUDGE.by_update(turn) == ACCEPT


@pytest.mark.parametrize(("weight", "ballot"), [(0.05, DIRECTION), (0.07, ACCEPT)])
def test_smallest_member_under_noise_shares(weight, ballot):
    """A limit: even where all updates are alike and no noise is drawn, it has too little."""
    weights = np.array([weight, *[(1 - weight) / 4] * 4])
    length = float(weights.mean())
    change = PublicChange(np.array([1.0]), length, length**2)
    assert noised_ballot(VoteSettings(), change, round(weight * 2**20), 20) == ballot
    lower = VoteSettings(direction=0.4)
    assert noised_ballot(lower, change, round(weight * 2**20), 20) == ACCEPT
