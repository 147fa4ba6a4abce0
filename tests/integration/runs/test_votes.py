"""Members vote on models: honest runs go on, a spoiled round is repeated, or the run stops."""

from dataclasses import dataclass

import msgpack
import numpy as np
import pytest

from securefl.audit.attacks.poison.federations import family_data
from securefl.audit.export import audit_run, bundle_of
from securefl.config.load import load_config
from securefl.config.vote_rounds import is_voted_on, votes_held
from securefl.consortium.ledger.vote_events import Ballot, Vote
from securefl.errors import ConfigError, SecureflError
from securefl.federation.coordinator import rounds
from securefl.federation.coordinator.ledger_recorder import Recorder
from securefl.federation.coordinator.vote import RejectedModelError, check_accepted
from securefl.federation.member.checkpoint import state_path
from securefl.federation.member.model_verifier import ModelVerifier, UnverifiedModelError
from securefl.federation.member.sum_watch import SumWatch
from securefl.federation.member.votes import shown_vote
from securefl.federation.messages import MessageError
from securefl.federation.runs.loop import RoundLoop
from securefl.federation.runs.prepare import prepare_data
from securefl.federation.runs.simulation import local_consortium
from securefl.federation.scores.ballots import Vote as Counted
from securefl.federation.scores.ballots import is_of, signed_ballot, vote_of
from securefl.federation.scores.judgement import ABSTAIN, ACCEPT, ROW, WORSE
from securefl.ml.tensor_io import read_tensors
from securefl.ml.vectors import model_digest
from securefl.tasks.common.learner import LocalProblem
from securefl_protocols.primitives.signing import SigningKey
from support.vote_setup import attack_in, trained, voting


@dataclass
class Ended:
    """A round that ended, with its vote."""

    round: int
    vote: Counted


BUDGET = {"dp": "distributed", "epsilon": 8.0, "delta": 1e-5}
"""Of so few customers that members abstain: the noise is too large to be paid for."""


@pytest.fixture
def hostile(monkeypatch):
    """Have the first retailer promote ten products in every round."""
    attack_in(monkeypatch, "promote-ten")


def audited(directory):
    """The verdict of the audit of a run, and that of its check of votes."""
    audit = audit_run(directory.path)
    return audit.verdict, next(c for c in audit.checks if c.name == "votes-counted")


def events(directory, kind):
    """The ledger's events of a kind, each with its member."""
    entries = [signed.entry for signed in bundle_of(directory.path).entries]
    return [(entry.member, entry.event) for entry in entries if isinstance(entry.event, kind)]


def test_honest_members_accept_and_the_run_ends(tmp_path):
    directory, run = trained(voting(), tmp_path / "run")
    result = run()
    votes = [record.vote for record in directory.records()]
    assert [vote.rejected for vote in votes] == [False, False]
    assert all(len(vote.signatures) == 5 for vote in votes)
    assert result.state.round == 2
    assert len(events(directory, Ballot)) == len(events(directory, Vote)) == 10
    verdict, check = audited(directory)
    assert (verdict, check.verdict) == ("pass", "pass")
    assert "2 votes, 0 of which reject" in check.reason


def test_a_promoted_model_stops_the_run(tmp_path, hostile):
    directory, run = trained(voting(repeats=0), tmp_path / "run")
    with pytest.raises(RejectedModelError, match=r"the model of round 1 .* none is accepted"):
        run()
    (record,) = directory.records()
    assert record.vote.rejected
    assert not record.best
    assert directory.result() is None
    with pytest.raises(RejectedModelError):
        run()  # and it stays stopped


def test_no_vote_is_held_between_the_agreed_rounds(tmp_path):
    directory, run = trained(voting(rounds=3, every=2), tmp_path / "run")
    result = run()
    assert [record.vote is None for record in directory.records()] == [True, False, False]
    # The last round has a vote in any case, and one without a vote is no result.
    assert directory.records()[0].best is False
    assert result.state.best_round in {2, 3}
    assert audited(directory)[1].verdict == "pass"


@pytest.mark.parametrize(("every", "rounds", "votes"), [(1, 3, 3), (2, 3, 2), (2, 4, 2), (9, 4, 1)])
def test_the_last_round_has_a_vote_in_any_case(every, rounds, votes):
    """Coordinator, members, plan and audit go by one rule."""
    config = voting(rounds=rounds, every=every)
    assert is_voted_on(config, rounds)
    assert sum(is_voted_on(config, number) for number in range(1, rounds + 1)) == votes
    assert votes_held(config) == votes


def test_lost_lists_of_a_blend_stop_the_run():
    """Repeated, the run would go on without what is summed in round 1 alone."""
    against = Ended(1, Counted({"a": WORSE, "b": WORSE}, rejected=True))
    with pytest.raises(RejectedModelError, match=r"lists .* in round 1 alone.*a new run"):
        check_accepted(voting(), [against], 0, sums_once=True)
    check_accepted(voting(), [against], 0)
    check_accepted(
        voting(rounds=3), [Ended(1, Counted()), Ended(2, against.vote)], 1, sums_once=True
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mode": "plain"}, "in mode secure alone"),
        ({"privacy": BUDGET, "server": {"optimizer": "fedadam"}}, "is fedavg"),
        ({"privacy": {**BUDGET, "unit": "member"}}, "of the unit itself"),
    ],
)
def test_a_vote_is_refused_where_it_says_nothing(changes, why):
    tree = voting().model_dump(mode="json", exclude_none=True)
    with pytest.raises(ConfigError, match=why):
        load_config(None, tree | changes)


@pytest.fixture(scope="module")
def parties():
    """A consortium of five that votes, and its keys."""
    return local_consortium(prepare_data(voting(), family_data("ranking", voting(), 5)))


MODEL = bytes(range(32))


def test_a_ballot_is_one_members_and_of_one_model(parties):
    consortium, keys = parties
    key, model = SigningKey(keys["retailer-1"]), MODEL
    signature = signed_ballot(consortium, key, 1, model, ACCEPT)
    assert is_of(consortium, "retailer-1", signature, (1, model, ACCEPT))
    assert not is_of(consortium, "retailer-2", signature, (1, model, ACCEPT))
    assert not is_of(consortium, "retailer-1", signature, (2, model, ACCEPT))
    assert not is_of(consortium, "retailer-1", signature, (1, bytes(32), ACCEPT))
    assert not is_of(consortium, "retailer-1", signature, (1, model, ABSTAIN))
    other = signed_ballot(consortium, key, 1, model, "reject: envy")
    assert not is_of(consortium, "retailer-1", other, (1, model, "reject: envy"))


def signed(parties, ballots):
    """The vote on `MODEL` in round 1 that members' ballots lead to."""
    consortium, keys = parties
    signatures = {
        name: signed_ballot(consortium, SigningKey(keys[name]), 1, MODEL, said)
        for name, said in ballots.items()
    }
    return vote_of(consortium, (1, MODEL), ballots, signatures)


def test_a_member_counts_what_it_is_shown_itself(parties):
    """No word of the coordinator rejects a model: four signatures do, and they can be withheld."""
    consortium, keys = parties
    ballots = dict.fromkeys(list(keys)[:4], WORSE)
    vote = signed(parties, ballots)
    shown = shown_vote(consortium, (1, MODEL), vote.packed())
    assert shown == vote
    assert shown.rejected
    assert shown.absent == ("retailer-4",)
    assert signed(parties, dict(list(ballots.items())[:1])).rejected is False
    turned = msgpack.packb([[one, ACCEPT, vote.signatures[one]] for one in ballots])
    with pytest.raises(MessageError, match="not by the member that it names"):
        shown_vote(consortium, (1, MODEL), turned)
    for content in (b"", b"\xff", msgpack.packb({"a": 1}), msgpack.packb([["retailer-0", ACCEPT]])):
        with pytest.raises(MessageError, match="malformed"):
            shown_vote(consortium, (1, MODEL), content)


@pytest.mark.slow
def test_rejected_round_is_repeated_from_before(tmp_path, monkeypatch):
    attack_in(monkeypatch, "promote-ten", rounds={2})
    directory, run = trained(voting(rounds=3), tmp_path / "run")
    result = run()
    records = directory.records()
    assert [record.vote.rejected for record in records] == [False, True, False]
    assert records[1].unscored
    assert not records[1].best
    assert result.state.best_round != 2
    begun = {entry.event.round: entry.event.model_before for entry in releases(directory)}
    assert begun[3] == begun[2] == records[0].model != records[1].model
    verdict, check = audited(directory)
    assert (verdict, check.verdict) == ("pass", "pass")
    assert "3 votes, 1 of which reject" in check.reason


def releases(directory):
    entries = [signed.entry for signed in bundle_of(directory.path).entries]
    return [entry for entry in entries if entry.event.kind == "release"]


@pytest.mark.slow
def test_run_ends_the_same_if_killed_behind_a_rejection(tmp_path, monkeypatch):
    attack_in(monkeypatch, "promote-ten", rounds={2})
    whole, run = trained(voting(rounds=3), tmp_path / "whole")
    run()
    killed, run = trained(voting(rounds=3), tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(RoundLoop, "_conclude", killed_behind(RoundLoop._conclude, 2))
        with pytest.raises(KeyboardInterrupt):
            run()
    run()
    ends = [[record.model for record in one.records()] for one in (whole, killed)]
    assert ends[0] == ends[1]
    assert audited(killed)[1].verdict == "pass"


@pytest.mark.slow
def test_run_stops_after_the_agreed_repeats(tmp_path, hostile):
    directory, run = trained(voting(rounds=4, repeats=1), tmp_path / "run")
    with pytest.raises(RejectedModelError, match="2 in a row; 1 repeats were agreed"):
        run()
    assert [record.vote.rejected for record in directory.records()] == [True, True]


@pytest.mark.slow
def test_ballots_under_a_budget_are_charged(tmp_path):
    """With a budget far beyond any use, so few customers are enough for a ballot."""
    privacy = {"dp": "distributed", "epsilon": 40.0, "delta": 1e-5, "expected_batch": 100.0}
    config = voting(changes={"privacy": privacy, "model": {"name": "profile"}}, share=0.5)
    directory, run = trained(config, tmp_path / "run")
    run()
    given = [ballot for _, ballot in events(directory, Ballot)]
    said = [ballot for ballot in given if ballot.ballot != ABSTAIN]
    assert said
    assert all(ballot.mechanism.sampling_rate == 1.0 for ballot in said)
    assert all(ballot.epsilon_after > ballot.epsilon_before for ballot in said)
    assert audited(directory)[1].verdict == "pass"


@pytest.mark.slow
def test_too_much_noise_abstains_and_costs_nothing(tmp_path):
    config = voting(changes={"privacy": BUDGET, "model": {"name": "profile"}}, share=0.01)
    directory, run = trained(config, tmp_path / "run")
    run()
    given = [ballot for _, ballot in events(directory, Ballot)]
    assert {(ballot.ballot, ballot.mechanism) for ballot in given} == {(ABSTAIN, None)}
    assert not any(record.vote.rejected for record in directory.records())


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["scale", "sign-flip"])
@pytest.mark.parametrize("attacked", [1, 2])
def test_the_smallest_of_five_is_found(tmp_path, monkeypatch, attack, attacked):
    """By what its part did to the others' mean, and by how that turned since the round before.

    In a first round by what a model learns first, which is common to all; the run then goes on as
    if it had not happened.
    """
    attack_in(monkeypatch, attack, rounds={attacked}, who="retailer-4")
    directory, run = trained(voting(rounds=3), tmp_path / "run")
    run()
    found = [record.vote.rejected for record in directory.records()]
    assert found == [number == attacked for number in (1, 2, 3)]
    assert audited(directory)[1].verdict == "pass"


@pytest.mark.slow
def test_a_row_that_stands_out_costs_no_budget(tmp_path, monkeypatch):
    """It is read off the sum alone, also where members would abstain for the noise."""
    monkeypatch.setattr(SumWatch, "row_score", lambda *_: 99.0)
    changes = {"privacy": BUDGET, "model": {"name": "profile"}}
    config = voting(repeats=0, row=12.0, changes=changes)
    directory, run = trained(config, tmp_path / "run")
    with pytest.raises(RejectedModelError, match="5 reject: row"):
        run()
    given = [ballot for _, ballot in events(directory, Ballot)]
    assert {(ballot.ballot, ballot.mechanism) for ballot in given} == {(ROW, None)}


def test_no_round_begins_before_its_vote_is_shown(parties):
    """Nor after more rejections in a row than were agreed, whatever the coordinator says."""
    start = np.zeros(3, np.float32)
    verifier = ModelVerifier(parties[0], lambda: model_digest(start))
    verifier.rejected = lambda number: number > 0
    for number in (1, 2, 3):
        verifier.begin(number, start, b"", b"")
    with pytest.raises(UnverifiedModelError, match=r"3 models in a row .* 2 repeats"):
        verifier.begin(4, start, b"", b"")
    verifier.undecided = lambda number: number == 2
    verifier.begin(2, start, b"", b"")
    with pytest.raises(UnverifiedModelError, match="the vote on round 2 is not shown"):
        verifier.begin(3, start, b"", b"")


def test_attack_enters_a_later_round_before_an_older_vote_is_shown(parties):
    """A member that missed a vote and the round behind it: with `every` 2, that has none."""
    verifier = ModelVerifier(parties[0], lambda: MODEL)
    verifier.undecided = lambda number: number == 2
    with pytest.raises(UnverifiedModelError, match="the vote on round 2 is not shown"):
        verifier.begin(4, np.zeros(3, np.float32), b"", b"")


@pytest.mark.slow
def test_withheld_vote_ends_the_run(tmp_path, monkeypatch):
    """A coordinator that shows no vote has no next round, from whatever model."""
    conclude = Recorder.conclude
    monkeypatch.setattr(
        Recorder,
        "conclude",
        lambda *a, number, **of: number == 1 or conclude(*a, number=number, **of),
    )
    _, run = trained(voting(), tmp_path / "run")
    with pytest.raises(SecureflError, match="the vote on round 1 is not shown"):
        run()


@pytest.mark.slow
def test_members_take_no_rejected_model_as_result(tmp_path, monkeypatch):
    """Nor keep it in their folders, though they verified the sum that led to it."""
    attack_in(monkeypatch, "promote-ten", rounds={2})
    back = rounds._go_back

    def kept(federation, state, accepted):
        state.best_round, state.best_shared = state.round, state.shared
        state.best_proof = state.proof
        back(federation, state, accepted)

    monkeypatch.setattr(rounds, "_go_back", kept)
    directory, run = trained(voting(), tmp_path / "run")
    with pytest.raises(SecureflError, match="members rejected the model of round 2"):
        run()
    assert not list(directory.path.rglob("predictions*"))


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_rejected_round_leaves_nothing_in_what_members_keep(tmp_path, monkeypatch, killed):
    """Given the seeds of the honest round, its repeat ends in the same rows, moments and model."""
    honest, run = trained(voting(rounds=2), tmp_path / "honest")
    run()
    for name in ("seed", "units"):
        patch_number(monkeypatch, name, {3: 2})
    attack_in(monkeypatch, "promote-ten", rounds={2})
    attacked, run = trained(voting(rounds=3), tmp_path / "attacked")
    if killed:
        with monkeypatch.context() as patch:
            patch.setattr(RoundLoop, "_conclude", killed_behind(RoundLoop._conclude, 2))
            with pytest.raises(KeyboardInterrupt):
                run()
    run()
    assert [record.vote.rejected for record in attacked.records()] == [False, True, False]
    assert attacked.records()[2].model == honest.records()[1].model
    for member in ("retailer-1", "retailer-2", "retailer-3", "retailer-4"):
        assert kept_after(attacked, member, 3) == kept_after(honest, member, 2)


def patch_number(monkeypatch, name, numbers):
    """Have training take seed or units of another round."""
    real = getattr(LocalProblem, name)

    def other(problem, *purpose):
        *words, last = purpose
        return real(problem, *words, numbers.get(last, last))

    monkeypatch.setattr(LocalProblem, name, other)


def killed_behind(conclude, number):
    """A loop's end of a round that is killed once the round is in the ledger."""

    def dies(loop, record, state):
        conclude(loop, record, state)
        if record.round == number:
            raise KeyboardInterrupt

    return dies


def kept_after(directory, member, number):
    """A member's own rows and moments after a round, as bytes."""
    tensors, _ = read_tensors(state_path(directory.member_path(member), number))
    return {
        name: tensor.numpy().tobytes()
        for name, tensor in tensors.items()
        if name.startswith(("local/", "optimizer/"))
    }
