"""Models and outcomes of a coordinator's own making, before real members of small runs."""

import numpy as np
import pytest

from securefl.audit.export import audit_run
from securefl.config.schema import Dropout
from securefl.consortium.ledger.hash_chain import read_entry
from securefl.federation import messages as m
from securefl.federation.aggregation.model_proofs import ModelProof, RoundEnd, moments_digest
from securefl.federation.aggregation.secure import RoundFailedError, SecureAggregator
from securefl.federation.coordinator import rounds
from securefl.federation.member.answers import Protection
from securefl.federation.member.own_figures import kept_result
from securefl.federation.runs import loop
from securefl.federation.runs import run as simulation
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.scores.exact import ExactLayout
from securefl.federation.scores.exact_session import sum_exact
from securefl.federation.transport.exchange import Exchange
from securefl.federation.transport.fault_injection import WithDropouts
from securefl.federation.transport.local import InProcess
from securefl.ml.vectors import model_digest

BUDGET = {"epsilon": 8.0, "dp": "local"}
MODES = {
    Protection.PLAIN: {"mode": "plain"},
    Protection.MASKED: {"mode": "secure"},
    Protection.PLAIN_BUDGET: {"mode": "plain", "privacy": BUDGET},
    Protection.MASKED_BUDGET: {"mode": "secure", "privacy": BUDGET},
}


def crafted(shared):
    model = np.zeros_like(shared)
    model[::7] = 0.5
    return model


@pytest.mark.parametrize("protection", MODES, ids=lambda one: one.value)
@pytest.mark.parametrize("carrier", [m.Train, m.TrainMasked])
def test_crafted_first_model_is_refused(asked, protection, carrier):
    """Audit_first: members trained any first model, though each could compute the agreed one."""
    victim = asked("ratings", **MODES[protection])
    victim.say(m.StartRun(since=0))
    false = m.pack_vector(crafted(victim.prepared.shared))
    fields = {"cohort": victim.consortium.roster.names, "session": 1}
    masked = carrier is m.TrainMasked
    answer = victim.say(carrier(round=1, shared=false, **(fields if masked else {})))
    assert answer.error in {"UnverifiedModelError", "RefusedQuestionError"}
    if protection in {Protection.PLAIN_BUDGET, Protection.MASKED_BUDGET}:
        assert victim.spent == 0
    agreed = masked == (MODES[protection]["mode"] == "secure")
    true = m.pack_vector(victim.prepared.shared)
    answer = victim.say(carrier(round=1, shared=true, **(fields if masked else {})))
    assert isinstance(answer, m.Protocol | m.Update) == agreed


def test_plain_round_begins_as_the_last_was_said_to_end(asked):
    """In the clear, a coordinator is held to its own word: one model ends a round."""
    victim = asked(mode="plain")
    victim.say(m.StartRun(since=0))
    start, other = victim.prepared.shared, victim.prepared.shared + 1
    names = victim.consortium.roster.names
    victim.say(m.Train(round=1, shared=m.pack_vector(start)))
    said = {"survivors": names, "transcript": None, "since": 0}
    ended = m.Conclude(round=1, model=model_digest(start), **said)
    assert isinstance(victim.say(ended), m.Entries)
    other_end = m.Conclude(round=1, model=model_digest(other), **said)
    assert "another model" in victim.say(other_end).text
    assert "another model" in victim.say(m.Train(round=2, shared=m.pack_vector(other))).text
    assert isinstance(victim.say(m.Train(round=2, shared=m.pack_vector(start))), m.Update)


def test_plain_round_without_a_word_is_refused(asked):
    """Told nothing of how round 1 ended, members trained any model, and under any later number."""
    victim = asked(mode="plain")
    victim.say(m.StartRun(since=0))
    start = victim.prepared.shared
    victim.say(m.Train(round=1, shared=m.pack_vector(start)))
    for number in (2, 3):
        asked_early = m.Train(round=number, shared=m.pack_vector(crafted(start)))
        assert victim.say(asked_early).error == "RefusedQuestionError"
    names = victim.consortium.roster.names
    ended = {"survivors": names, "transcript": None, "since": 0, "model": model_digest(start)}
    victim.say(m.Conclude(round=1, **ended))
    assert isinstance(victim.say(m.Train(round=3, shared=m.pack_vector(start))), m.Failure)
    assert isinstance(victim.say(m.Train(round=2, shared=m.pack_vector(start))), m.Update)


class Missed:
    """A masked run in which one member is in the first round's cohort and not in its sum."""

    def __init__(self, party):
        self.party, self.names = party, party.consortium.roster.names
        self.victim = self.names[1]
        self.transport = InProcess(party.specs)
        dropout = Dropout(member=self.victim, round=1, step="masked-input")
        exchange = Exchange(WithDropouts(self.transport, [dropout]))
        self.exchange = Exchange(self.transport)
        self.exchange.ask_all(self.names, m.StartRun(since=0), m.Entries)
        self.aggregator = SecureAggregator(party.consortium)
        start = party.prepared.shared
        result = self.aggregator.aggregate(exchange, 1, start, self.names)
        self.shared = (start.astype(np.float64) + result.change).astype(np.float32)
        end = RoundEnd(1, result.survivors, model_digest(self.shared), moments_digest(b""))
        self.proof = ModelProof.of(party.consortium, end, result.signatures)

    def say(self, message, name=None):
        return self.exchange.replies({name or self.victim: message})[name or self.victim]

    def conclude(self, name=None, **changes):
        fields = {
            "round": 1,
            "survivors": self.proof.end.survivors,
            "model": self.proof.end.model,
            "transcript": b"t" * 32,
            "since": 0,
        }
        return self.say(m.Conclude(**(fields | changes)), name)

    def kinds(self, name=None):
        entries = self.conclude(name).entries
        return [read_entry(data).entry.event.kind for data in entries]


@pytest.fixture
def missed(asked):
    return Missed(asked(mode="secure", rounds=2))


def test_outcome_is_signed_by_those_that_saw_it(missed):
    """Audit_skip2: members signed an outcome that never was, with no survivors and any digest."""
    names, survivors = missed.names, missed.proof.end.survivors
    assert missed.victim not in survivors
    claims = (
        {"survivors": ()},
        {"survivors": survivors[:2]},
        {"survivors": survivors[::-1]},
        {"survivors": (*survivors, "stranger")},
        {"survivors": names},
        {"model": b"\1" * 32},
        {"round": 2, "survivors": ()},
        {"transcript": None},
        {"proof": b"\xff" * 40},
    )
    for claim in claims:
        for name in names:
            answer = missed.conclude(name, **claim)
            if isinstance(answer, m.Entries):
                events = [read_entry(data).entry.event for data in answer.entries]
                said = [event for event in events if event.kind == "outcome"]
                assert {event.model_after for event in said} <= {missed.proof.end.model.hex()}
                assert name == missed.victim or not said or claim.keys() == {"proof"}
    assert missed.kinds() == ["start", "release", "unseen-outcome"]
    assert missed.kinds(names[0]) == ["start", "release", "outcome"]


def test_own_signature_tells_a_member_what_it_saw(missed):
    """A member that lost its state knows its own signature, and no other member's, again."""
    own, other = missed.names[0], missed.names[2]
    fresh = missed.party.spec.build()
    missed.transport._parties[own].close()
    missed.transport._parties[own] = fresh
    missed.say(m.StartRun(since=0), own)
    assert isinstance(missed.conclude(own, proof=missed.proof.only([own])), m.Entries)
    assert missed.kinds(own) == ["start", "release", "outcome"]
    foreign = missed.proof.only([other])
    assert isinstance(missed.conclude(proof=foreign), m.Entries)
    assert missed.kinds() == ["start", "release", "unseen-outcome"]


def test_member_that_missed_a_sum_scores_no_model(missed):
    """Without a budget it scored whatever model it was told that the round ended with."""
    false = m.pack_vector(crafted(missed.shared))
    true, proof = m.pack_vector(missed.shared), missed.proof.handed_out(missed.party.consortium)
    asked = m.ScoreRequest(number=1, shared=true, cohort=missed.names)
    for change in ({"shared": false}, {"shared": false, "proof": proof}, {}):
        answer = missed.say(asked.model_copy(update=change))
        assert "not the model" in answer.text, change
    proved = asked.model_copy(update={"proof": proof})
    assert isinstance(missed.say(proved), m.ScoreProtocol)


def test_scores_are_summed_over_members_that_missed_a_sum(missed):
    """The coordinator hands them the proof of the model, so that they need not be left out."""
    layout = ExactLayout(missed.party.prepared.task.scored_metrics)
    terms = missed.exchange, missed.party.consortium, layout, 1, missed.shared
    assert sum_exact(*terms, proof=missed.proof).survivors == missed.names


def test_result_is_kept_only_if_it_is_verified(asked):
    """Over a network the result is in every member's own folder, whoever missed a sum."""
    missed = Missed(asked(mode="secure", rounds=1))
    proof = missed.proof.handed_out(missed.party.consortium)
    for name in missed.names:
        assert isinstance(missed.conclude(name), m.Entries)
    true = m.Deliver(round=1, shared=m.pack_vector(missed.shared))
    false = true.model_copy(update={"shared": m.pack_vector(crafted(missed.shared))})
    for given in (true, false, false.model_copy(update={"proof": proof})):
        assert "not the model that round 1 ended with" in missed.say(given).text
    assert isinstance(missed.say(true.model_copy(update={"proof": proof})), m.Done)
    assert isinstance(missed.say(true, missed.names[0]), m.Done)
    assert isinstance(missed.say(false, missed.names[0]), m.Failure)


def test_another_result_is_not_kept_after_the_first(asked):
    """Scores are summed over what was delivered; a second result would be unscored, and kept."""
    victim = asked(mode="plain", rounds=2)
    victim.say(m.StartRun(since=0))
    start, names = victim.prepared.shared, victim.consortium.roster.names
    for number in (1, 2):
        victim.say(m.Train(round=number, shared=m.pack_vector(start)))
        ended = {"survivors": names, "transcript": None, "since": 0, "model": model_digest(start)}
        if number == 2:
            ended["model"] = model_digest(start + 1)
        assert isinstance(victim.say(m.Conclude(round=number, **ended)), m.Entries)
    given = m.Deliver(round=1, shared=m.pack_vector(start))
    assert [victim.say(given).kind for _ in range(2)] == ["done", "done"]
    other = victim.say(m.Deliver(round=2, shared=m.pack_vector(start + 1)))
    assert "another result was delivered before" in other.text


def test_another_final_model_is_never_written(asked):
    """A member on a machine of its own: nothing of it is in its folder, and the true one is."""
    missed = Missed(asked(mode="secure", rounds=1))
    for name in missed.names:
        missed.conclude(name)
        missed.transport._parties[name]._own_machine = True
    false = m.Deliver(round=1, shared=m.pack_vector(crafted(missed.shared)))
    for name, spec in zip(missed.names, missed.party.specs, strict=True):
        assert isinstance(missed.say(false, name), m.Failure)
        assert kept_result(spec.directory) is None
        assert not (spec.directory / "model").exists()
    true = m.Deliver(round=1, shared=m.pack_vector(missed.shared))
    verified, spec = missed.names[0], missed.party.specs[0]
    assert isinstance(missed.say(true, verified), m.Done)
    assert isinstance(missed.say(false, verified), m.Failure)
    assert kept_result(spec.directory)[0].tobytes() == missed.shared.tobytes()


def test_run_from_a_crafted_start_ends(tmp_path, small_config, monkeypatch):
    """Audit_first as a whole run: nothing was noticed, and the audit passed."""
    honest = simulation.prepare

    def evil(config):
        prepared = honest(config)
        object.__setattr__(prepared, "shared", crafted(prepared.shared))
        return prepared

    monkeypatch.setattr(simulation, "prepare", evil)
    directory = RunDirectory.create(tmp_path / "run", small_config(mode="secure", rounds=1))
    with pytest.raises(RoundFailedError, match="does not follow from the agreement"):
        simulation.run(directory)


def test_run_that_skips_a_round_ends(tmp_path, small_config, monkeypatch):
    """Audit_skip, audit_skip2: a round that never was, its outcome, and a model behind it."""
    honest, answers = rounds.run_round, {}

    def evil(federation, state):
        if state.round != 1:
            return honest(federation, state)
        false, names = crafted(state.shared), federation.members
        ended = m.Conclude(
            round=2, survivors=(), model=model_digest(false), transcript=b"\7" * 32, since=0
        )
        answers.update(federation.exchange.replies(dict.fromkeys(names, ended)))
        federation.aggregator.aggregate(federation.exchange, 3, false, names)
        raise AssertionError("members trained a crafted model")

    monkeypatch.setattr(loop, "run_round", evil)
    directory = RunDirectory.create(tmp_path / "run", small_config(mode="secure", rounds=3))
    with pytest.raises(RoundFailedError, match="round 3 has no sum"):
        simulation.run(directory)
    assert {type(answer) for answer in answers.values()} == {m.Failure}


def test_members_in_and_out_of_cohorts_verify_all(small_run):
    """A member that is in every other cohort, or drops out, goes on; the audit finds nothing."""
    _, directory = small_run(
        mode="secure",
        rounds=3,
        cohort={"fraction": 0.8},
        server={"optimizer": "fedadam", "learning_rate": 0.1},
        simulation={"dropouts": [{"member": "retailer-0", "round": 2, "step": "consistency"}]},
    )
    audit = audit_run(directory.path)
    assert audit.verdict == "pass", [one for one in audit.checks if one.verdict != "pass"]
    assert len({record.cohort for record in directory.records()}) > 1
