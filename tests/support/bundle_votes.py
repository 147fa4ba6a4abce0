"""Manipulations of votes: each takes an honest run, and holds one of its own whose members vote."""

from dataclasses import replace
from functools import cache

from securefl.consortium.ledger.vote_events import Ballot, Vote
from securefl.federation.scores.judgement import ACCEPT, WORSE
from support.bundle_edits import CHEAT
from support.bundle_scenario import STEP, honest, voted


@cache
def voting():
    """A masked run whose members accepted both of its models."""
    return honest(rounds=2, members=5, private=False, vote={})


def sealed(run):
    return run.seal(), {}


def unasked_votes(run):
    """One member records a ballot in a run without votes."""
    ballot = Ballot(round=1, model=run.model, ballot=ACCEPT)

    def change(script):
        at = next(n for n, one in enumerate(script) if one.member == CHEAT and n > 0)
        script.insert(at + 1, replace(script[at], event=ballot))

    return run.changed(change).seal(), {}


def against(run, number):
    """All members reject the model of a round, and sign it."""
    model = next(
        one.event.model
        for one in run.script
        if isinstance(one.event, Vote) and one.event.round == number
    )
    vote = voted(run, number, model, dict.fromkeys(run.keys, WORSE))
    changed = run.edited(None, Ballot, {"ballot": WORSE}, number)
    return changed.edited(None, Vote, dict(vote), number)


def miscounted_vote(_):
    """Five signed rejections are recorded as an acceptance."""
    return sealed(against(voting(), 1).edited(None, Vote, {"rejected": False}, 1))


def exchanged_ballots(_):
    """The signature of one member stands under the ballot of another."""

    def exchanged(vote):
        one, two, *others = vote.ballots
        swapped = one.model_copy(update={"signature": two.signature})
        return {"ballots": (swapped, two, *others)}

    return sealed(voting().edited(None, Vote, exchanged, 1))


def withheld_ballot(_):
    """The coordinator shows all members a vote without one ballot that was given."""
    return sealed(voting().edited(None, Vote, lambda vote: {"ballots": vote.ballots[1:]}, 1))


def forgotten_vote(_):
    """One member records no vote."""

    def change(script):
        vote = next(one for one in script if one.member == CHEAT and isinstance(one.event, Vote))
        script.remove(vote)

    return sealed(voting().changed(change))


def rejected_model(_):
    """The first model is rejected, and the second round begins from it all the same."""
    return sealed(against(voting(), 1))


def rejected_result(_):
    """The last model is rejected, and is the result."""
    return sealed(against(voting(), 2))


def priced_ballot(_):
    """A member charges for a ballot where none is to be charged."""
    ballot = {"mechanism": STEP, "delta": 1e-5, "epsilon_before": 0.0, "epsilon_after": 1.0}
    return sealed(voting().edited(CHEAT, Ballot, ballot, 1))


def unpriced_ballot(_):
    """A member of a private run lets a ballot leave that follows from its held-out customers."""
    run = honest(rounds=1, members=5, vote={}, server={"optimizer": "fedavg"})
    (model,) = {one.event.model for one in run.script if isinstance(one.event, Vote)}
    ballots = dict.fromkeys(run.keys, ACCEPT) | {CHEAT: WORSE}
    changed = run.edited(CHEAT, Ballot, {"ballot": WORSE}, 1)
    return sealed(changed.edited(None, Vote, dict(voted(run, 1, model, ballots)), 1))


def second_ballot(_):
    """A member records its ballot twice: of two noised readings it could send the better one."""

    def change(script):
        at = next(
            n
            for n, one in enumerate(script)
            if one.member == CHEAT and isinstance(one.event, Ballot)
        )
        script.insert(at, script[at])

    return sealed(voting().changed(change))
