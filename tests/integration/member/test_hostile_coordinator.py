"""A hostile coordinator behind the real transport: what is answered equals the table."""

from functools import cache
from typing import get_args

import numpy as np
import pytest

from securefl.audit.export import audit_run, bundle_of
from securefl.config.load import load_config, merge
from securefl.consortium.ledger.hash_chain import read_entry
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.federation import messages as m
from securefl.federation.member.answers import (
    ANSWERS,
    Often,
    Phase,
    Price,
    Protection,
)
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare
from securefl.federation.runs.run import run
from securefl.federation.runs.simulation import local_consortium, member_specs
from securefl.federation.scores.exact import ExactLayout
from securefl.federation.transport.exchange import Exchange
from securefl.federation.transport.local import InProcess
from support.hostile import HostileCoordinator, check_against_table, every_question, world_of
from support.small_runs import SMALL_RATINGS

BUDGET = {"epsilon": 4.0, "delta": 1e-3, "expected_batch": 20.0, "sampling_rate": 1.0, "steps": 1}
PROTECTIONS = {
    Protection.PLAIN: {"mode": "plain"},
    Protection.MASKED: {"mode": "secure"},
    Protection.PLAIN_BUDGET: {"mode": "plain", "privacy": BUDGET | {"dp": "local"}},
    Protection.MASKED_BUDGET: {"mode": "secure", "privacy": BUDGET | {"dp": "distributed"}},
}
START = np.zeros(3, dtype=np.float32)
REPLIES_WITH_SCORES = (m.Scores, m.LocalOnlyResult)


class Hostile(HostileCoordinator):
    """The hostile coordinator of a run in this process, which can look into its members."""

    def __init__(self, folder, config):
        prepared = prepare(config)
        self.directory = RunDirectory.create(folder / "run", config)
        self.consortium, identities = local_consortium(prepared)
        specs = member_specs(prepared, self.directory, self.consortium, identities)
        layout = ExactLayout(prepared.task.scored_metrics)
        super().__init__(InProcess(specs), self.consortium, prepared.shared, layout)

    @property
    def member(self):
        return self.transport._parties[self.victim]

    def events(self):
        """What is in the victim's ledger."""
        book = PrivacyLedger(book_path(self.directory.places.books, self.victim))
        entries = book.entries(self.consortium.run_id.hex())
        return [read_entry(data).entry.event for data in entries]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Plays a hostile coordinator of a run under a protection; once for all tests."""

    @cache
    def make(protection):
        changes = {"rounds": 2, **PROTECTIONS[protection]}
        config = load_config(None, merge(SMALL_RATINGS, changes))
        assert Protection.of(config) is protection
        coordinator = Hostile(tmp_path_factory.mktemp("hostile"), config)
        coordinator.play()
        return coordinator

    return make


def played(*protections):
    """As cases; the two with masks are among the fast checks, for the others differ by less."""
    slow = {one: [pytest.mark.slow] for one in (Protection.PLAIN, Protection.PLAIN_BUDGET)}
    return [pytest.param(one, marks=slow.get(one, []), id=one.value) for one in protections]


@pytest.mark.parametrize("protection", played(*Protection))
def test_hostile_coordinator_gets_the_table(hostile, protection):
    """Every question in every phase with fields at extremes; the answered are those of the table.

    The run is led on as agreed in between, so that a question that is allowed once is answered.
    """
    check_against_table(hostile(protection), protection)


@pytest.mark.parametrize(
    "protection", played(Protection.MASKED, Protection.PLAIN_BUDGET, Protection.MASKED_BUDGET)
)
def test_hostile_coordinator_gets_no_score(hostile, protection):
    """Whatever the table says: no reply under masks or a budget holds a score of the member."""
    coordinator = hostile(protection)
    kinds = {type(reply) for _, reply in coordinator.replies}
    assert not kinds & set(REPLIES_WITH_SCORES)
    assert kinds <= {m.Entries, m.Done, m.BudgetResponse, m.Protocol, m.Update}
    if protection is not Protection.PLAIN_BUDGET:
        assert m.Update not in kinds


@pytest.mark.parametrize("protection", played(*Protection))
def test_hostile_coordinator_hands_out_no_model(hostile, protection):
    """In no phase is a message answered with a model in it but the start and what rounds led to.

    Every message with a model is asked with a crafted one, with and without a forged proof.
    """
    coordinator = hostile(protection)
    carried = [one.shared for one, _ in coordinator.replies if hasattr(one, "shared")]
    assert carried
    assert set(carried) <= coordinator.models


@pytest.mark.parametrize("protection", [Protection.MASKED, Protection.MASKED_BUDGET])
def test_hostile_coordinator_gets_no_false_outcome(hostile, protection):
    """The victim signs how each round ended, once and as it saw it, whatever it was told."""
    coordinator = hostile(protection)
    outcomes = [event for event in coordinator.events() if event.kind == "outcome"]
    ends = {event.round: (event.survivors, event.model_after) for event in outcomes}
    assert len(outcomes) == len(ends)
    assert ends == coordinator.ends


def test_hostile_coordinator_spends_at_most_the_budget(hostile):
    """Whatever it asks, the account stays within what was agreed."""
    coordinator = hostile(Protection.PLAIN_BUDGET)
    spent = coordinator.member.trainer.spending().epsilon
    assert 0 < spent <= BUDGET["epsilon"]


def test_refused_questions_are_recorded_once(hostile):
    """By name; asking on and on does not make the ledger grow."""
    coordinator = hostile(Protection.MASKED)
    before = coordinator.events()
    refused = [event for event in before if event.kind == "refused-question"]
    names = [event.question for event in refused]
    assert len(names) == len(set(names))
    assert {"evaluate (split=train, kept=True)", "naive (split=test)", "train"} <= set(names)
    coordinator.ask_everything(Phase.CLOSED)
    assert coordinator.events() == before


def test_hostile_questions_are_all_messages():
    """A new message is asked without being named here."""
    world = world_of(2, START, ("a", "b"))
    assert {type(question) for question in every_question(world)} == set(get_args(m.AnyMessage))


def test_table_prices_every_answer():
    """Only what is charged or in the clear by agreement depends on customers' data."""
    for rule in ANSWERS:
        scores = set(rule.reply) & set(REPLIES_WITH_SCORES)
        if scores:
            assert rule.protections == {Protection.PLAIN}
            assert rule.price is Price.CLEAR
            assert rule.often in {Often.ONCE, Often.ONCE_A_ROUND}
        if m.Update in rule.reply:
            assert not rule.protections & {Protection.MASKED, Protection.MASKED_BUDGET}


class Curious:
    """An observer of a run that asks every member for its baseline before the first round."""

    def observe(self, aggregator, transport):
        exchange = Exchange(transport)
        names = tuple(transport._parties)
        self.replies = exchange.replies(dict.fromkeys(names, m.BaselineRequest(split="test")))
        return aggregator

    def rounds_ended(self, federation):
        del federation


def test_refused_question_is_in_the_log_and_audited(tmp_path, small_config):
    """Each member's signed entry says what was asked; the audit takes it and finds nothing else."""
    directory = RunDirectory.create(tmp_path / "run", small_config("ratings", rounds=1))
    curious = Curious()
    run(directory, observer=curious)
    assert {reply.error for reply in curious.replies.values()} == {"RefusedQuestionError"}
    assert audit_run(directory.path).verdict == "pass"
    entries = bundle_of(directory.path).entries
    events = [signed.entry.event for signed in entries]
    refused = [event for event in events if event.kind == "refused-question"]
    assert [event.question for event in refused] == ["naive (split=test)"] * len(curious.replies)
    assert {(event.phase, event.reason) for event in refused} == {("in the rounds", "protection")}
