"""The observer of a simulation, which no host of a network can build."""

import json

import pytest

from securefl.errors import AgreementError
from securefl.federation import messages as m
from securefl.federation.runs.observation import ObservedSpec, PooledSpec, Simulation
from securefl.federation.runs.simulation import observed
from securefl.federation.runs.summary import summarise


def test_one_key_observes_nobody(asked):
    """A host has the key of its own member, and a simulation needs all."""
    parties = asked(mode="secure")
    own = {parties.spec.name: parties.identities[parties.spec.name]}
    with pytest.raises(AgreementError, match="the key of retailer-1 is not on this machine"):
        Simulation(parties.consortium, own)
    with pytest.raises(AgreementError, match="no simulation"):
        observed([parties.spec], own)
    swapped = dict.fromkeys(parties.identities, own[parties.spec.name])
    with pytest.raises(AgreementError, match="no simulation"):
        Simulation(parties.consortium, swapped)
    for spec in (ObservedSpec, PooledSpec):
        with pytest.raises(TypeError):
            spec(parties.spec)


def test_observer_sees_what_the_member_refuses(asked):
    """The wrapper answers its own questions, and hands all others to the member."""
    parties = asked(mode="secure")
    watched = observed(parties.specs, parties.identities)[0].build()

    def say(party, message):
        (reply,) = party.handle(m.encode(message))
        return m.decode(reply)

    model = m.pack_vector(parties.prepared.shared)
    question = m.ObserveModel(shared=model, split="test", local="kept")
    assert isinstance(say(watched, question), m.Scores)
    plain = m.Evaluate(round=0, shared=model, split="test", kept=True)
    assert say(watched, plain).error == "RefusedQuestionError"
    assert say(watched, m.DebugDisclose(round=1)).error == "RefusedQuestionError"


def test_member_answers_no_observer(asked):
    """Nor does one whose run began."""
    parties = asked(mode="plain")
    parties.say(m.StartRun(since=0))
    model = m.pack_vector(parties.prepared.shared)
    for question in (
        m.ObserveModel(shared=model, split="test", local="kept"),
        m.ObserveBaseline(noised=False),
        m.ObserveLocalOnly(shared=model),
        m.DebugDisclose(round=1),
        m.ObserveRounding(round=1),
    ):
        assert "does not answer" in parties.say(question).text


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mode": "plain"}, []),
        ({"mode": "plain", "references": {"enabled": True}}, ["pooled"]),
        ({"mode": "secure"}, ["federated", "naive"]),
        ({"privacy": {"dp": "local", "epsilon": 8.0}}, ["federated", "naive", "released"]),
    ],
    ids=["plain", "plain-pooled", "masked", "budget"],
)
def test_results_name_what_only_a_simulation_sees(small_run, changes, named):
    """In the JSON, and in the summary where there is something to name."""
    result, directory = small_run(kind="ratings", rounds=1, **changes)
    assert sorted(result.simulation_only) == named
    written = json.loads((directory.path / "result.json").read_text())
    assert sorted(written["simulation_only"]) == named
    assert any("Only a simulation" in note for note in summarise(result).notes) == bool(named)
