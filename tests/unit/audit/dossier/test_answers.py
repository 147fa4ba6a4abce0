"""What a dossier says: figures of the signed log, and what no signature covers as such."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from securefl.audit.bundle.case import Log
from securefl.audit.dossier import competition, data_protection, parties
from securefl.audit.dossier.deployment import entry, entry_schema
from securefl.audit.dossier.evidence import AttackFile, figure, read_attack
from securefl.audit.life import life_loss
from securefl.config.data import FilesSettings
from securefl.config.schedule import ScheduleSettings
from securefl.config.task_registry import TASKS, declaration
from securefl.consortium.ledger.events import Release, Start
from securefl.errors import InputError
from securefl.federation.member.answers import ANSWERS, Price, Protection
from support.bundle_mutations import CHEAT
from support.bundle_scenario import honest
from support.paths import ROOT, page

ATTACK = {
    "verdict": "pass",
    "unit": "customer",
    "epsilon": 4.0,
    "delta": 1e-5,
    "canaries": 5000,
    "rounds": 3,
    "confidence": 0.95,
    "attacks": [
        {
            "name": "canaries",
            "gain": "57 % right",
            "lower_bound": 2.25,
            "claim": 4.0,
            "verdict": "holds",
        }
    ],
}


def told(answers):
    return {one.question: one for one in answers}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_says_what_it_tells_competitors(task):
    """Forecasts and prices are the delicate ones."""
    said = declaration(task).disclosure
    assert said is not None
    assert said.delicate == (task in {"demand", "inventory", "pricing"})
    assert len(said.model) > 40
    assert len(said.competition) > 40


def test_a_task_without_a_statement_is_delicate(evidence, monkeypatch):
    """Unknown is never fine."""
    silent = replace(evidence.spec, disclosure=None)
    monkeypatch.setattr(type(evidence), "spec", property(lambda self: silent))
    said = told(competition.notes(evidence))["How sensitive is it?"]
    assert said.basis == "to be stated"
    assert "until it is assessed" in said.answer
    assert "does not state" in parties.views(evidence)[2].learns


def test_figures_are_those_of_the_one_composition(evidence):
    """As `verify`, `explain` and the report have them."""
    loss = life_loss(Log(evidence.bundle), evidence.config.privacy)
    annex = told(data_protection.annex(evidence))
    run, life = annex["Privacy loss by this run"], annex["Privacy loss over the life of the data"]
    for found, said in ((loss.run, run), (loss.everywhere_run, run), (loss.life, life)):
        assert figure(found) in said.answer
        assert said.basis == "signed"
    assert figure(loss.everywhere_life) in life.answer
    made = entry(evidence).deployment.privacy_loss
    assert made.privacy_parameters.epsilon == pytest.approx(loss.run, abs=1e-4)


def test_no_bound_is_no_figure(evidence, monkeypatch):
    """A loss without a bound is said to have none, and the registry gets no entry."""
    none = replace(evidence.loss, run=None, everywhere_run=None, life=None, everywhere_life=None)
    monkeypatch.setitem(evidence.__dict__, "loss", none)
    assert "no bound" in told(data_protection.nist(evidence))["What is not covered?"].answer
    assert (
        "no bound below 20"
        in told(data_protection.annex(evidence))["Privacy loss over the life of the data"].answer
    )
    assert entry(evidence) is None


def test_earlier_releases_without_noise_are_named(evidence_of):
    """No figure covers them."""
    run = honest(rounds=2, masked=False).edited(None, Start, {"unprotected_before": 7})
    found = evidence_of(run.seal())
    count = 7 * len(found.log.starts)
    for answers in (data_protection.annex(found), data_protection.nist(found)):
        assert any(f"{count} earlier releases" in one.answer for one in answers)
    assert f"{count} earlier releases" in (
        entry(found).deployment.dp_variant.unprotected_quantities
    )


def test_a_release_without_noise_is_not_hidden(evidence_of):
    """One of many without a mechanism is enough."""
    run = honest(rounds=2, masked=False).edited(CHEAT, Release, {"mechanism": None}, 2)
    said = told(data_protection.annex(evidence_of(run.seal())))["Mechanism"]
    assert "a release without noise was recorded" in said.answer


def test_a_run_without_noise_says_so_everywhere(evidence_of):
    """No answer of it can be taken for protection."""
    found = evidence_of(honest(rounds=2, masked=False, private=False).seal())
    annex = told(data_protection.annex(found))
    for question in ("Privacy unit", "Mechanism", "Privacy loss by this run"):
        assert annex[question].answer.startswith("No protection: no noise")
    assert "not protected" in annex["Residual risk"].answer
    assert entry(found) is None


def test_a_wrong_run_is_called_wrong_first(evidence_of, dossier_from):
    """Before any figure, and in the residual risk."""
    run = honest(rounds=2, masked=False).edited(CHEAT, Release, {"epsilon_after": 0.4}, 2)
    made = dossier_from(evidence_of(run.seal()))
    assert made.exit_code == 1
    assert made.summary.startswith("The audit found something provably wrong")
    assert made.to_json()["verdict"] == "fail"
    risk = told(data_protection.annex(made.evidence))["Residual risk"].answer
    assert risk.startswith("The audit found something provably wrong")


def test_an_attack_is_unsigned_and_of_this_claim(evidence_of):
    """One on another claim is told apart; none at all is called not done."""
    bundle = honest(rounds=2, masked=False).seal()
    agreed = bundle.agreement.agreement.config.privacy
    own = {**ATTACK, "epsilon": agreed.epsilon, "delta": agreed.delta}

    def said(tree):
        attack = None if tree is None else AttackFile.model_validate(tree, strict=False)
        return told(data_protection.annex(evidence_of(bundle, attack)))["Attacks that were tried"]

    assert said(None).answer.startswith("Not done.")
    assert said(own).basis == "unsigned"
    assert "at least epsilon 2.25" in said(own).answer
    assert "another claim" not in said(own).answer
    assert "another claim" in said({**own, "epsilon": agreed.epsilon / 2}).answer
    assert "another claim" in said({**own, "unit": "record"}).answer
    assert said({**own, "verdict": "fail"}).answer.startswith("A CLAIM WAS REFUTED")


@pytest.mark.parametrize("text", ["[]", "{}", json.dumps(ATTACK | {"attacks": 1}), "no JSON"])
def test_what_is_no_attack_report_is_refused(tmp_path, text):
    """By its file's name."""
    path = tmp_path / "attack.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"attack\.json"):
        read_attack(path)


@pytest.mark.parametrize("protection", Protection)
def test_messages_are_those_that_members_answer(evidence, monkeypatch, protection):
    """Of the one table, without what leaves nobody."""
    monkeypatch.setattr(type(evidence), "protection", property(lambda self: protection))
    kinds = {
        rule.question.model_fields["kind"].default
        for rule in ANSWERS
        if protection in rule.protections and rule.price is not Price.NOTHING
    }
    assert {row[0] for row in parties.messages(evidence)} == kinds
    assert parties.views(evidence)[0].learns == parties.SEES[protection]


@pytest.mark.parametrize("page", ["docs/howto/dossier.md", "SECURITY.md"])
def test_pages_have_what_the_coordinator_sees(page):
    """The table of the code, word for word: it is stated nowhere else."""
    content = (ROOT / page).read_text("utf-8")
    for protection, text in parties.SEES.items():
        assert f"| {protection.value} | {text} |" in content


def test_few_members_of_a_delicate_task_are_named(evidence, monkeypatch):
    """Three members of a demand forecast."""
    spec = replace(evidence.spec, disclosure=declaration("demand").disclosure)
    monkeypatch.setattr(type(evidence), "spec", property(lambda self: spec))
    story = replace(evidence.story, fewest=3)
    few = replace(evidence, proof=replace(evidence.proof, story=story))
    said = told(competition.notes(few))["Between how many?"].answer
    assert "none had fewer than 3" in said
    assert "have it assessed" in said
    assert "demands no least number" in said
    monkeypatch.undo()
    assert "have it assessed" not in told(competition.notes(few))["Between how many?"].answer


def test_age_of_the_data_is_the_agreed_one(evidence, under, evidence_of):
    """Days between the agreed period and the first entry, or to be stated."""
    age = "How old are the data?"
    assert told(competition.notes(evidence))[age].basis == "to be stated"
    member = {"name": "a", "transactions": "a.csv"}
    files = FilesSettings(
        catalogue=Path("c.csv"), members=(member,), period=(date(2025, 1, 1), date(2026, 2, 20))
    )
    said = told(competition.notes(evidence_of(under(evidence.bundle, data=files))))[age]
    assert said.basis == "signed"
    assert "10 days before training" in said.answer
    weekly = under(evidence.bundle, data=files, schedule=ScheduleSettings(runs=4))
    said = told(competition.notes(evidence_of(weekly)))[age]
    assert said.basis == "to be stated"
    assert "7 days later in each further run" in said.answer


def test_the_entry_has_the_form_that_is_written_down():
    """docs/reference/deployment.schema.json is the schema of the code."""
    text = page("deployment.schema.json").read_text("utf-8")
    assert json.loads(text) == entry_schema()


def test_an_entry_is_a_draft_that_hides_nothing(evidence):
    """Numbers as they are, and what the run cannot know is left open."""
    made = json.loads(entry(evidence).to_text())
    assert (made["status"], made["tier"]) == ("Draft", 3)
    assert made["deployment"]["basic"]["data_product_region"].startswith("To be stated")
    assert made["deployment"]["basic"]["publication_date"] == "2026-03-02"
    assert made["deployment"]["privacy_loss"]["privacy_parameters"]["delta"] == (
        evidence.config.privacy.delta
    )
