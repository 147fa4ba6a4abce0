"""The first paragraph of an audit, and one composition of losses behind every command."""

import json
from types import SimpleNamespace

import pytest

from securefl.audit.bundle.bundle import to_text
from securefl.audit.bundle.case import Log
from securefl.audit.explain import explain
from securefl.audit.export import bundle_of, export
from securefl.audit.life import life_loss
from securefl.audit.report.page import write_report
from securefl.audit.report.rounds import privacy as privacy_section
from securefl.audit.report.summary_cards import _cost, _factor
from securefl.audit.report.view_model import subtitle
from securefl.audit.verify import verify, verify_file
from securefl.config.load import load_config, merge
from securefl.consortium.ledger.events import Release, Start
from securefl.consortium.ledger.overlap import shared_customers
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.errors import InputError
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.ml.tensor_io import read_tensors, write_tensors
from support.bundle_edits import question_refused
from support.bundle_scenario import NOW, STEP, honest

SHARED = {
    "mode": "secure",
    "rounds": 2,
    "model": {"name": "profile", "rank": 2},
    "privacy": {
        "dp": "distributed",
        "epsilon": 4.0,
        "delta": 1e-3,
        "sampling_rate": 1.0,
        "steps": 1,
        "expected_batch": 20.0,
    },
}


@pytest.fixture
def bundle_after(tmp_path, small_config, purchases):
    """Run once more on the same data and books; return the bundle."""

    def make(name, kind="purchases", **changes):
        if kind == "purchases":
            changes = merge(SHARED, changes)
            config = load_config(None, merge({**purchases, "model": {}}, changes))
        else:
            config = small_config(kind, **changes)
        directory = RunDirectory.create(tmp_path / name, config, LedgerPaths.usual())
        run(directory)
        return bundle_of(directory.path), directory.path

    return make


def test_a_customer_of_all_members_pays_what_the_books_say(bundle_after):
    """Noise that members share is met once for each of the customer's retailers."""
    bundle, folder = bundle_after("first")
    stated = shared_customers(LedgerPaths.usual().books)
    story = explain(bundle)
    assert story.customer_of_all == pytest.approx(stated[-1].epsilon, rel=1e-9)
    assert story.customer_of_all > 2 * max(m.epsilon_life for m in story.members)
    said = verify(bundle, folder=folder).answer
    assert f"{stated[-1].epsilon:.3f}" in said


@pytest.mark.slow
def test_a_record_level_run_counts_before_a_customer_level_run(bundle_after):
    """Its steps are in the start entry, and no bound is stated that leaves them out."""
    private = {"dp": "local", "epsilon": 4.0, "delta": 1e-4, "sampling_rate": 0.1, "steps": 1}
    kept = {"kind": "ratings", "mode": "plain", "rounds": 2}
    bundle_after("records", privacy={**private, "unit": "record"}, **kept)
    bundle, folder = bundle_after("customers", privacy=private, **kept)
    story = explain(bundle)
    # Two rounds of one step each, and the scores.
    assert {member.other_steps for member in story.members} == {3}
    assert all(member.epsilon_all_units is None for member in story.members)
    assert story.customer_of_all is None
    assert story.customer_of_all_run is not None
    audit = verify(bundle, folder=folder)
    assert audit.verdict == "pass"
    assert "earlier steps on the data for other privacy units" in audit.answer
    stated = {
        one.epsilon for one in shared_customers(LedgerPaths.usual().books) if one.unit == "customer"
    }
    assert stated == {None}


@pytest.mark.slow
def test_a_customer_level_run_before_a_record_level_run_is_bounded():
    """A record is part of a customer, whose guarantee covers a change of one record twice."""
    earlier = (STEP,)
    run = honest(rounds=1, masked=False)
    loss = life_loss_of(run, "record", earlier)
    assert loss.life > life_loss_of(run, "record", ()).life


def life_loss_of(scenario, unit, earlier):
    changed = scenario.edited(None, Start, {"unit": unit, "other_units": earlier})
    step = STEP.model_copy(update={"unit": unit})
    changed = changed.edited(None, Release, {"mechanism": step})
    agreed = scenario.consortium.signed.agreement.config.privacy
    return life_loss(Log(changed.seal()), agreed.model_copy(update={"unit": unit}))


def test_the_answer_says_who_what_and_how_complete(tmp_path):
    scenario = honest(rounds=1)
    audit = verify(scenario.seal(tmp_path), folder=tmp_path, now=NOW)
    expected = ("5 of 5 members", "masked sums", "over 5 members at least", "Each customer")
    for words in (*expected, "delta 1e-05", "complete"):
        assert words in audit.answer
    assert "--agreement" in audit.answer
    pinned = verify(
        scenario.seal(tmp_path), folder=tmp_path, now=NOW, agreement=scenario.consortium.signed
    )
    assert "--agreement" not in pinned.answer
    assert audit.to_json()["answer"] == audit.answer


def test_a_run_without_noise_says_that_no_customer_is_protected():
    audit = verify(honest(rounds=1, masked=False, private=False).seal(), now=NOW)
    assert (audit.verdict, audit.protected) == ("pass", False)
    assert "no customer is protected" in audit.answer


def test_figures_of_a_false_bundle_are_not_to_be_believed():
    run = honest(rounds=1, masked=False).edited("retailer-1", Release, {"delta": 1e-2})
    audit = verify(run.seal(), now=NOW)
    assert audit.verdict == "fail"
    assert "believe none" in audit.answer


def test_the_given_model_is_the_one_that_the_run_ended_with(bundle_after, tmp_path):
    bundle, folder = bundle_after("given")
    path = tmp_path / "bundle.json"
    path.write_text(to_text(bundle))

    def given(file):
        checks = verify_file(path, model=file).checks
        return next(check for check in checks if check.name == "model-given")

    released = folder / "model.safetensors"
    assert given(released).verdict == "pass"
    assert given(None).verdict == "not checked"
    tensors, metadata = read_tensors(released)
    name = next(iter(tensors))
    false = tmp_path / "false.safetensors"
    write_tensors(false, {**tensors, name: tensors[name] + 1}, metadata)
    assert given(false).verdict == "fail"
    del metadata["order"]
    write_tensors(false, tensors, metadata)
    with pytest.raises(InputError, match="order"):
        given(false)


def test_a_wrong_place_to_write_destroys_nothing(bundle_after, tmp_path):
    """Neither an export nor a report replaces what it did not write."""
    _, folder = bundle_after("kept", mode="plain", privacy={"dp": "local"})
    ledger = folder / "ledger.sqlite"
    before = ledger.read_bytes()
    for write in (lambda: export(folder, ledger), lambda: write_report(folder, ledger)):
        with pytest.raises(InputError, match="something else"):
            write()
    assert ledger.read_bytes() == before
    link = tmp_path / "link.json"
    link.symlink_to(ledger)
    with pytest.raises(InputError, match="something else"):
        export(folder, link)
    for _ in range(2):
        export(folder, tmp_path / "bundle.json")
        write_report(folder, tmp_path / "report.html")


def test_a_report_takes_its_figures_from_what_was_signed(bundle_after, tmp_path):
    """The result file may say anything: epsilon, and where the run lies."""
    bundle, folder = bundle_after("told")
    signed = explain(bundle)
    path = folder / "result.json"
    result = json.loads(path.read_text())
    for member in result["privacy"]["members"]:
        member["epsilon"] = member["life"] = 0.125
    result["run_dir"] = "/tmp/elsewhere"
    path.write_text(json.dumps(result))
    page = write_report(folder, tmp_path / "report.html").read_text()
    assert "0.125" not in page
    assert f"{signed.members[0].epsilon_life:.3f}" in page
    assert f"ε = {max(m.epsilon_run for m in signed.members):.2f}" in page
    assert "/tmp/elsewhere" not in page
    for digest in (bundle.run, bundle.claims.model, bundle.heads[-1].head.head.root):
        assert digest in page
    assert "--agreement agreement.toml" in page
    assert page.count("Unsigned") >= 3


def test_refused_questions_are_told():
    """By the check with member and question, in the answer, and in the explanation."""
    run = honest(rounds=1, masked=False).changed(question_refused)
    bundle = run.seal()
    audit = verify(bundle, now=NOW)
    found = next(check for check in audit.checks if check.name == "questions-refused")
    assert "retailer-1 refused 'train before the round' (model)" in found.reason
    assert audit.verdict == "pass"
    assert "Warning: members refused 1 questions" in audit.answer
    asked = {member.name: member.refused_questions for member in explain(bundle).members}
    assert asked.pop("retailer-1") == ("train before the round",)
    assert set(asked.values()) == {()}


@pytest.mark.parametrize("private", [True, False])
def test_a_signed_card_says_nothing_that_is_unsigned(private):
    """Mode, epsilon, delta and unit of the card are the signed ones, whatever a result says."""
    story = explain(honest(rounds=1, masked=False, private=private).seal())
    stated = SimpleNamespace(largest_epsilon=9.0, unit="record", delta=1e-12)
    told = [SimpleNamespace(privacy=privacy, mode="secure") for privacy in (stated, None)]
    first, second = (_cost(result, story) for result in told)
    assert first == second
    assert not first.unsigned
    assert "in the clear" in first.text
    assert ("100,000 cases" in first.text) == private
    assert all(_cost(result, None).unsigned for result in told)


@pytest.mark.parametrize("private", [True, False])
def test_a_reports_privacy_is_the_signed_one(private):
    """Unit, delta, caps and mode on the page are signed, and whether there was any noise."""
    story = explain(honest(rounds=1, masked=False, private=private).seal())
    stated = SimpleNamespace(protects="a record", adjacency="none", delta=0.25, members=())
    told = [SimpleNamespace(privacy=privacy) for privacy in (stated, None)]
    first, second = (privacy_section(result, {}, story) for result in told)
    assert first == second
    assert ("Nothing was done" in first.paragraphs[0]) != private
    assert [table.caption.partition("; ")[0] for table in first.tables] == (
        ["Unit: customer"] if private else []
    )
    assert all("delta 1e-05" in table.caption for table in first.tables)
    result = SimpleNamespace(members=(1, 2), mode="secure", rounds=9, seed=3, seconds=2.0)
    assert subtitle(result, story).startswith("5 retailers, mode plain, 1 round")
    assert subtitle(result).endswith("(unsigned)")


def test_odds_beyond_all_numbers_are_told():
    assert _factor(1.0) == "2.7"
    assert _factor(1e6) == "more than any number here"
