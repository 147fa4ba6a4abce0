"""A member that is lost leaves statements out: the audit is incomplete and names them, never wrong.

Entries travel with a member's answers, and each batch of answers ends with a head of the log. So a
member that is lost leaves a chain that stops at a head, and no signature from there on.
"""

from dataclasses import replace

import pytest

from securefl.audit.bundle.bundle import LinkedHead
from securefl.audit.bundle.case import AuditContext, Log
from securefl.audit.checks.models import model_chain
from securefl.audit.checks.rounds import releases_recorded
from securefl.audit.verify import verify
from securefl.consortium.ledger.events import (
    End,
    Outcome,
    Refusal,
    RefusedQuestion,
    ScoreRelease,
    UnseenOutcome,
)
from support.bundle_edits import CHEAT
from support.bundle_scenario import NOW, Scenario, Written, honest, scored

NAMES = tuple(f"retailer-{number}" for number in range(5))
NEVER = 99
KINDS = {
    "masked": {"private": False},
    "plain": {"private": False, "masked": False},
    "votes": {"private": False, "vote": {"quorum": 0.5, "repeats": 1}},
}


@pytest.fixture(scope="module")
def runs():
    return {kind: honest(**settings) for kind, settings in KINDS.items()}


def left_by(run: Scenario, lost: dict[str, int], folder):
    """The bundle where members are lost before their answers for a head, by its number from 0."""
    script, number = [], 0
    for written in run.script:
        if written.member is None and script[-1].member is not None:
            script.append(written)
        if written.member is None:
            number += 1
        elif number < lost.get(written.member, NEVER):
            script.append(written)
    bundle = run.changed(lambda _: script).seal(folder)
    ended = {one.entry.event.round for one in bundle.entries if one.entry.event.kind == "outcome"}
    return bundle.model_copy(
        update={
            "heads": tuple(_unsigned(place, one, lost) for place, one in enumerate(bundle.heads)),
            "transcripts": tuple(file for file in bundle.transcripts if file.round in ended),
        }
    )


def _unsigned(place, linked, lost):
    there = {
        name: signature
        for name, signature in linked.head.signatures.items()
        if place < lost.get(name, NEVER)
    }
    return LinkedHead(
        head=linked.head.model_copy(update={"signatures": there}), consistency=linked.consistency
    )


def judged(bundle, folder):
    audit = verify(bundle, folder=folder, model=bundle.claims.model, now=NOW)
    return audit, [check for check in audit.checks if check.verdict in {"fail", "warn"}]


@pytest.mark.parametrize(
    ("kind", "many", "head"),
    [
        *(("masked", many, head) for many in (1, 3, 5) for head in (1, 3)),
        ("plain", 3, 2),
        ("plain", 5, 2),
        ("votes", 1, 1),
        ("votes", 5, 2),
    ],
)
def test_lost_statements_are_missing_and_not_wrong(runs, kind, many, head, tmp_path):
    """In a round or behind the last, and however many are lost at once."""
    bundle = left_by(runs[kind], dict.fromkeys(NAMES[5 - many :], head), tmp_path)
    audit, wrong = judged(bundle, tmp_path)
    assert wrong == []
    assert audit.verdict == "incomplete"
    assert "the end of each member's chain" in audit.missing
    if head < 3 and many < 5:
        assert "releases of every survivor" in audit.missing
        assert "releases of every survivor" in audit.answer


@pytest.mark.slow
def test_lost_statements_under_a_budget(tmp_path):
    """Half a minute: prices of the second accountant. Scores of the lost member are missing too."""
    audit, wrong = judged(left_by(scored(honest()), {CHEAT: 2}, tmp_path), tmp_path)
    assert (audit.verdict, wrong) == ("incomplete", [])
    assert {"releases of every survivor", "scores of every member"} <= set(audit.missing)


@pytest.mark.parametrize(
    "later",
    [
        UnseenOutcome(round=2),
        End(rounds=3, epsilon_after=None),
        Refusal(round=2, reason="budget", asked=None, allowed=None),
    ],
    ids=lambda event: event.kind,
)
def test_attack_chain_that_goes_on_without_the_release(runs, later, tmp_path):
    """A member is in a sum, and its chain goes on behind it without a release: that is wrong."""
    run = runs["masked"]

    def without(script):
        kept = [
            written
            for written in script
            if written.member != CHEAT or getattr(written.event, "round", 9) < 2
            if written.member != CHEAT or not isinstance(written.event, End)
        ]
        return [*kept[:-1], Written(CHEAT, later, 9), kept[-1]]

    bundle = run.changed(without).seal(tmp_path)
    _, wrong = judged(bundle, tmp_path)
    assert "releases-recorded" in {check.name for check in wrong if check.verdict == "fail"}


def test_attack_round_from_a_model_that_all_leave_out(runs, tmp_path):
    """Where every chain goes on, nobody was lost: a round from an unsigned model is wrong."""
    run = runs["masked"]

    def without(script):
        return [
            written
            for written in script
            if not (isinstance(written.event, Outcome) and written.event.round == 2)
        ]

    bundle = run.changed(without).seal(tmp_path)
    bundle = bundle.model_copy(update={"transcripts": bundle.transcripts[::2]})
    _, wrong = judged(bundle, tmp_path)
    assert "model-chain" in {check.name for check in wrong if check.verdict == "fail"}


def without_its_second_release(run, later=(), entries=True):
    """The run where a survivor's chain is cut before its second release, and goes on with more."""

    def cut(script):
        kept = [
            written
            for written in script
            if written.member != CHEAT
            or (entries and getattr(written.event, "round", 0) < 2 and written.event.kind != "end")
        ]
        return [*kept[:-1], *(Written(CHEAT, event, 9) for event in later), kept[-1]]

    return run.changed(cut)


def released(bundle):
    """What is found of the releases of survivors."""
    return releases_recorded(AuditContext(Log(bundle), NOW))


@pytest.mark.parametrize("entries", [True, False])
def test_attack_survivor_signs_the_log_without_its_release(runs, entries):
    """Who signs a head was there, and signs none in which an entry of its own is missing."""
    found = released(without_its_second_release(runs["masked"], entries=entries).seal())
    assert found.verdict == "fail"
    assert f"{CHEAT} is in the sum, and signed a head" in found.reason


@pytest.mark.parametrize(
    "later",
    [
        Refusal(round=4, reason="cap", asked=None, allowed=None),
        RefusedQuestion(question="train-masked", phase="after the rounds", reason="phase"),
        RefusedQuestion(question="train-masked", phase="after the end", reason="phase"),
    ],
    ids=["a later round", "after the rounds", "after the end"],
)
def test_attack_refuses_what_comes_later_without_the_release(runs, later):
    bundle = without_its_second_release(runs["masked"], [later]).seal()
    heads = tuple(_unsigned(place, one, {CHEAT: 0}) for place, one in enumerate(bundle.heads))
    assert released(bundle.model_copy(update={"heads": heads})).verdict == "fail"


def chained(run, lost, unsaid):
    """What is found of another model as the result, where nobody signed how a round ended.

    Those that are lost stop before its end; the others say that they did not see it.
    """

    def change(script):
        for written in script:
            event = written.event
            late = isinstance(event, ScoreRelease | End) or getattr(event, "round", 0) > unsaid
            ended = isinstance(event, Outcome) and event.round == unsaid
            if written.member in lost and (ended or late):
                continue
            yield replace(written, event=UnseenOutcome(round=unsaid)) if ended else written

    bundle = run.changed(lambda script: list(change(script))).seal()
    claims = bundle.claims.model_copy(update={"model": "ab" * 32})
    return model_chain(AuditContext(Log(bundle.model_copy(update={"claims": claims})), NOW))


def test_model_may_be_of_the_round_whose_end_is_missing(runs):
    assert chained(runs["masked"], NAMES, 3).lacks == "outcomes of rounds"


def test_attack_model_of_no_round_with_lost_members_as_a_reason(runs):
    """The next round's releases say from which model it began."""
    found = chained(runs["masked"], NAMES[:1], 2)
    assert (found.verdict, found.where) == ("fail", "claims")


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "unsaid"), [(3, 3), (1, 2)])
def test_attack_other_model_than_the_one_that_was_scored(lost, unsaid):
    """Half a minute: prices of the second accountant."""
    found = chained(scored(honest()), NAMES[:lost], unsaid)
    assert (found.verdict, found.where) == ("fail", "claims")
