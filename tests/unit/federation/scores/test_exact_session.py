"""Exact sums of scores: equal to the sum in the clear, entered once, in order."""

import os
import random
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from securefl.config.load import load_config
from securefl.config.schema import Dropout
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.keys.key_files import generate_key
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger
from securefl.consortium.ledger.round_records import RoundRecords
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.one_sum import OneSum
from securefl.federation.runs.simulation import local_agreement
from securefl.federation.scores.exact import ExactLayout
from securefl.federation.scores.exact_session import MemberExactScores, sum_exact
from securefl.federation.transport.exchange import Exchange
from securefl.federation.transport.local import InProcess
from securefl.ml.metrics.spec import MetricSpec
from securefl.ml.metrics.sums import MetricSums, Ratio, total
from securefl_protocols.session import plan as plans
from securefl_protocols.wire.messages import MaskedInput
from support.masked_federation import wrong_checksum
from support.score_parties import MODEL, NAMES, WithoutScores
from support.small_runs import SMALL_RATINGS

LAYOUT = ExactLayout(
    (MetricSpec("hr", True, "cases"), MetricSpec("ndcg", True, "cases"), MetricSpec("rmse", False))
)


def sums_of(name, arm):
    draw = np.random.default_rng([NAMES.index(name), len(arm)])
    hr, ndcg, error = draw.random(3) * 1000
    return MetricSums({"hr": Ratio(hr, 77.0), "ndcg": Ratio(ndcg, 77.0), "rmse": Ratio(error, 9.0)})


@dataclass(frozen=True)
class ExactSpec:
    name: str
    scores: MemberExactScores
    log: list
    cost: int = 1

    def build(self):
        return ExactParty(self)


class ExactParty:
    def __init__(self, spec):
        self.spec = spec

    def handle(self, message):
        request, scores = m.decode(message), self.spec.scores
        try:
            if isinstance(request, m.ScoreRequest):
                reply = scores.enter(request, m.unpack_vector(request.shared), self._sums)
            else:
                reply = scores.receive(request)
        except SecureflError as error:
            reply = m.Failure(error=error.wire_name, text=str(error))
        return [m.encode(reply)]

    def _sums(self):
        self.spec.log.append(self.spec.scores.last)
        arms = ("federated",) if self.spec.scores.last <= 3 else ("federated", "naive")
        return [sums_of(self.spec.name, arm) for arm in arms]

    def close(self):
        """Nothing is open."""


@pytest.fixture
def consortium():
    keys = {name: generate_key() for name in NAMES}
    config = load_config(None, SMALL_RATINGS)
    return keys, Consortium(local_agreement("exact", config, keys), bytes(32))


@pytest.fixture
def books(tmp_path):
    """Each member's ledger."""
    made = {name: PrivacyLedger(tmp_path / f"{name}.sqlite") for name in NAMES}
    yield made
    for ledger in made.values():
        ledger.close()


def scores_of(consortium, name, ledger, entropy=os.urandom):
    keys, agreed = consortium
    records = RoundRecords(lambda: ledger, agreed.run_id.hex())
    identity = keys[name].private_bytes()
    return MemberExactScores(name, identity, agreed, LAYOUT, records, entropy=entropy)


@pytest.fixture
def specs(consortium, books):
    return [
        ExactSpec(name, scores_of(consortium, name, ledger), []) for name, ledger in books.items()
    ]


def asked(specs, consortium, number, dropouts=()):
    inner = InProcess(specs)
    with WithoutScores(inner, dropouts) if dropouts else inner as transport:
        return sum_exact(Exchange(transport), consortium[1], LAYOUT, number, MODEL)


def test_exact_sums_equal_the_sums_in_the_clear(specs, consortium):
    """Round after round, and for both arms at the end, bit for bit."""
    for number, arms in ((1, ["federated"]), (3, ["federated"]), (4, ["federated", "naive"])):
        found = asked(specs, consortium, number)
        assert list(found.arms) == arms
        for arm in arms:
            assert found.arms[arm] == total(sums_of(name, arm) for name in NAMES)


def test_a_dropout_leaves_the_exact_sum_of_the_others(specs, consortium):
    """Its part is in no limb of the sum."""
    found = asked(specs, consortium, 2, [Dropout(member="mid", round=2, step="masked-input")])
    assert found.survivors == NAMES[:4]
    assert found.arms["federated"] == total(sums_of(name, "federated") for name in NAMES[:4])


def test_sums_of_earlier_numbers_are_refused(specs, consortium):
    """Questions go forward: no member computes anything."""
    asked(specs, consortium, 2)
    assert "released before" in asked(specs, consortium, 1)
    assert all(spec.log == [2] for spec in specs)


def test_a_repeated_sum_is_the_same_sum(specs, consortium):
    """A coordinator that was killed before it kept a sum gets the same one."""
    first, second = asked(specs, consortium, 2), asked(specs, consortium, 2)
    assert first == second
    assert first.survivors == NAMES


def test_a_repeated_sum_has_no_other_survivors(specs, consortium):
    """Two sums that differ in one member are that member's scores; in either order."""
    one_less = [Dropout(member="mid", round=2, step="masked-input")]
    asked(specs, consortium, 2)
    assert "survivors of the first" in asked(specs, consortium, 2, one_less)
    one_less = [Dropout(member="mid", round=3, step="masked-input")]
    asked(specs, consortium, 3, one_less)
    assert "survivors of the first" in asked(specs, consortium, 3)


@pytest.mark.parametrize("other", ["model", "scores"])
def test_a_repeated_sum_has_no_other_contents(specs, consortium, monkeypatch, other):
    """Neither another model of that number, nor other scores of the same model."""
    asked(specs, consortium, 2)
    here, honest = sys.modules[__name__], sums_of
    if other == "model":
        monkeypatch.setattr(here, "MODEL", MODEL + 1)
    else:
        monkeypatch.setattr(here, "sums_of", lambda name, arm: honest(NAMES[0], arm))
    assert "with other contents before" in asked(specs, consortium, 2)


def test_old_keys_mask_no_second_input(consortium, books):
    """A copy of a journal draws the keys again: what it would mask with them is refused."""
    drawn = [random.Random(index) for index in range(len(NAMES))]
    first, copy = (
        [
            ExactSpec(name, scores_of(consortium, name, books[name], source.randbytes), [])
            for name, source in zip(NAMES, sources, strict=True)
        ]
        for sources in (drawn, [random.Random(0), *map(random.Random, range(9, 13))])
    )
    asked(first, consortium, 1)
    found = asked(copy, consortium, 1)
    assert "entered with these keys before" in str(found)


@pytest.mark.parametrize("number", [0, 5])
def test_numbers_that_were_not_agreed_have_no_sum(specs, consortium, number):
    """Members refuse them, whatever the coordinator computes."""
    assert "were agreed" in asked(specs, consortium, number)
    request = m.ScoreRequest(number=number, shared=m.pack_vector(MODEL), cohort=NAMES)
    reply = m.decode(specs[0].build().handle(m.encode(request))[0])
    assert isinstance(reply, m.Failure)
    assert specs[0].log == []


def test_another_cohort_is_refused(specs):
    """A smaller sum would hide less."""
    request = m.ScoreRequest(number=1, shared=m.pack_vector(MODEL), cohort=NAMES[:3])
    reply = m.decode(specs[0].build().handle(m.encode(request))[0])
    assert isinstance(reply, m.Failure)


def test_members_with_other_models_find_no_sum(specs, consortium):
    """The model is in the session's context, so a coordinator cannot score two in one sum."""
    inner = InProcess(specs)
    other = m.pack_vector(MODEL + 1)

    class Lying:
        def publish(self, party, message):
            request = m.decode(message)
            if party == "west" and isinstance(request, m.ScoreRequest):
                message = m.encode(request.model_copy(update={"shared": other}))
            inner.publish(party, message)

        receive = staticmethod(inner.receive)

    found = sum_exact(Exchange(Lying()), consortium[1], LAYOUT, 1, MODEL)
    survivors = () if isinstance(found, str) else found.survivors
    assert "west" not in survivors


def test_wrong_checksum_of_one_member_leaves_no_scores(specs, consortium, monkeypatch):
    """The sum is not taken, and the run goes on without these scores."""
    honest, liar = OneSum.receive, NAMES.index("west")

    def receive(one, payload, value):
        answer, client = honest(one, payload, value), one._client
        if answer is None or answer[1] != MaskedInput.CODE or client._opening.party.index != liar:
            return answer
        forged = wrong_checksum(SimpleNamespace(client=client), m.Protocol(round=1, payload=answer))
        return forged.payload

    monkeypatch.setattr(OneSum, "receive", receive)
    assert "fails its checksum" in asked(specs, consortium, 1)
    monkeypatch.undo()
    assert asked(specs, consortium, 2).survivors == NAMES


def test_exact_sums_on_a_drawn_graph(specs, consortium, monkeypatch):
    """Above a hundred members the opening has a step more, and no sum began."""
    monkeypatch.setattr(plans, "_degree_and_threshold", lambda *_: (2, 2))
    assert asked(specs, consortium, 1).survivors == NAMES


def test_lost_memory_enters_no_exact_sum_twice(specs, consortium, books):
    """Only the ledger knew; two sums that differ in one member are that member's scores."""
    assert asked(specs, consortium, 1).survivors == NAMES
    lost = [
        ExactSpec(spec.name, scores_of(consortium, spec.name, books[spec.name]), [])
        for spec in specs[:-1]
    ]
    again = asked(
        [*lost, specs[-1]], consortium, 1, [Dropout(member=NAMES[-1], round=1, step="masked-input")]
    )
    assert isinstance(again, str)
    assert "survivors of the first" in again
