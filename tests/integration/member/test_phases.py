"""The phase of a run at a member, over restarts and a lost disk."""

from securefl.federation import messages as m
from securefl.ml.vectors import model_digest


def say(member, message):
    (reply,) = member.handle(m.encode(message))
    return m.decode(reply)


def test_member_after_loss_goes_on_in_its_phase(asked):
    """The coordinator does not ask for the start again, and the ledger knows that it was asked."""
    parties = asked(mode="plain", rounds=2)
    model = m.pack_vector(parties.prepared.shared)
    train = [m.Train(round=number, shared=model) for number in (1, 2)]
    assert say(parties.member, train[0]).error == "RefusedQuestionError"
    assert isinstance(say(parties.member, m.StartRun(since=0)), m.Entries)
    assert isinstance(say(parties.member, train[0]), m.Update)
    ended = m.Conclude(
        round=1,
        survivors=parties.consortium.roster.names,
        model=model_digest(parties.prepared.shared),
        transcript=None,
        since=0,
    )
    assert isinstance(say(parties.member, ended), m.Entries)
    parties.member.close()
    fresh = parties.spec.build()
    assert say(fresh, train[1]).error == "RefusedQuestionError"
    fresh.begin_after_loss()
    assert isinstance(say(fresh, train[1]), m.Update)


def test_state_keeps_what_was_asked(asked):
    """A restarted member scores no second model in a round that it has scored one of."""
    parties = asked(mode="plain", rounds=2)
    model = m.pack_vector(parties.prepared.shared)
    scored = m.Evaluate(round=1, shared=model, split="validation", kept=False)
    say(parties.member, m.StartRun(since=0))
    say(parties.member, m.Train(round=1, shared=model))
    assert isinstance(say(parties.member, scored), m.Scores)
    say(parties.member, m.Save(round=1))
    state = parties.member.state()
    parties.member.close()
    again = parties.spec.build()
    again.restore(state)
    assert "answered before" in say(again, scored).text


def test_result_is_the_model_of_the_outcome(asked):
    """A member keeps no other model as the run's result, and gives scores of no other."""
    parties = asked(mode="plain", rounds=1)
    start = parties.prepared.shared
    say(parties.member, m.StartRun(since=0))
    say(parties.member, m.Train(round=1, shared=m.pack_vector(start)))
    other = m.pack_vector(start * 2)
    ended = m.Conclude(
        round=1,
        survivors=parties.consortium.roster.names,
        model=model_digest(start),
        transcript=None,
        since=0,
    )
    early = m.Deliver(round=1, shared=m.pack_vector(start))
    assert "not answered in the rounds" in say(parties.member, early).text
    assert isinstance(say(parties.member, ended), m.Entries)
    assert "not the model" in say(parties.member, m.Deliver(round=1, shared=other)).text
    assert isinstance(say(parties.member, early), m.Done)
    for rounds in (0, 2):
        assert "was not agreed" in say(parties.member, m.Finish(rounds=rounds, since=0)).text
    assert isinstance(say(parties.member, m.Finish(rounds=1, since=0)), m.Entries)
    assert "not answered after the end" in say(parties.member, early).text


def test_old_copy_of_a_ledger_enters_no_round(asked):
    """It said that the log has more entries than it has, and trained all the same."""
    parties = asked(mode="plain", rounds=2)
    train = m.Train(round=1, shared=m.pack_vector(parties.prepared.shared))
    assert say(parties.member, m.StartRun(since=5)).error == "LedgerError"
    assert say(parties.member, train).error == "RefusedQuestionError"
    assert isinstance(say(parties.member, m.StartRun(since=1)), m.Entries)
    assert isinstance(say(parties.member, train), m.Update)


def test_restore_beside_an_update_is_refused(asked):
    """In the middle of a round it put local parameters of before beside the round's update."""
    parties = asked(mode="plain", rounds=2)
    say(parties.member, m.StartRun(since=0))
    say(parties.member, m.Train(round=1, shared=m.pack_vector(parties.prepared.shared)))
    assert isinstance(say(parties.member, m.Save(round=1)), m.Done)
    assert "has trained since" in say(parties.member, m.Restore(round=1)).text
    fresh = parties.spec.build()
    assert isinstance(say(fresh, m.Restore(round=1)), m.Done)
    fresh.close()


def test_rounds_end_early_only_as_agreed(asked):
    """With the result of a round that as many came after as the agreed patience, and not before."""
    parties = asked(mode="plain", rounds=4, patience=1)
    names, start = parties.consortium.roster.names, parties.prepared.shared
    models = [start, start + 1, start + 2]
    say(parties.member, m.StartRun(since=0))
    result = m.Deliver(round=1, shared=m.pack_vector(models[1]))
    for number in (1, 2):
        say(parties.member, m.Train(round=number, shared=m.pack_vector(models[number - 1])))
        assert "not answered in the rounds" in say(parties.member, result).text
        ended = m.Conclude(
            round=number,
            survivors=names,
            model=model_digest(models[number]),
            transcript=None,
            since=0,
        )
        assert isinstance(say(parties.member, ended), m.Entries)
    newest = m.Deliver(round=2, shared=m.pack_vector(models[2]))
    assert "not answered in the rounds" in say(parties.member, newest).text
    assert isinstance(say(parties.member, result), m.Done)
    train = m.Train(round=3, shared=m.pack_vector(models[2]))
    assert "not answered after the rounds" in say(parties.member, train).text
    assert "was not agreed" in say(parties.member, m.Finish(rounds=4, since=0)).text
    assert isinstance(say(parties.member, m.Finish(rounds=2, since=0)), m.Entries)
