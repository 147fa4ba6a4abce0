"""A member that is lost leaves statements out: the audit is incomplete and names them, never wrong.

Entries travel with a member's answers, and each batch of answers ends with a head of the log. So a
member that is lost leaves a chain that stops at a head, and no signature from there on.
"""

import pytest

from securefl.audit.bundle.bundle import LinkedHead
from securefl.audit.verify import verify
from securefl.consortium.ledger.events import End, Outcome, Refusal, UnseenOutcome
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
