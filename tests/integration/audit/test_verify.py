"""Bundles as files: what is read, what is refused, and what lies beside them."""

import copy
import json
import random
import sys

import pytest

from securefl.audit.accountants import recompute
from securefl.audit.accountants.recompute import epsilon_of
from securefl.audit.bundle.bundle import BundleError, parse, read_object, to_text
from securefl.audit.bundle.case import Log
from securefl.audit.bundle.inputs import moment, pinned_agreement, read_bundle
from securefl.audit.checks.not_proved import NOT_PROVED
from securefl.audit.checks.registry import CHECKS
from securefl.audit.explain import explain
from securefl.audit.verify import OtherBundle, verify, verify_file
from securefl.consortium.encoding.jcs import to_timestamp
from securefl.consortium.ledger.hash_chain import canonical
from securefl.consortium.ledger.merkle import leaf_hash
from securefl.errors import InputError, SecureflError
from securefl.privacy.accounting import pld
from support.bundle_edits import entry_at
from support.bundle_scenario import DIMENSION, NOW, STEP, honest


@pytest.fixture(scope="session")
def run():
    return honest()


@pytest.fixture
def saved(run, tmp_path):
    """The honest bundle as a file, with what lies beside it."""
    path = tmp_path / "bundle.json"
    path.write_text(to_text(run.seal(tmp_path)))
    return path


def verdicts(audit):
    return {check.name: check.verdict for check in audit.checks}


def test_a_bundle_is_readable_json_with_an_entry_a_line(saved, run):
    tree = json.loads(saved.read_text())
    assert parse(tree) == run.seal(saved.parent)
    lines = [line for line in saved.read_text().splitlines() if '"signature"' in line]
    assert len(lines) == len(tree["entries"])


def test_a_file_is_audited_with_what_lies_beside_it(saved):
    audit = verify_file(saved, now=NOW)
    assert (audit.verdict, audit.exit_code) == ("pass", 0)
    assert verdicts(audit)["models-from-sums"] == "pass"
    assert [check.name for check in audit.checks] == ["schema", *(c.name for c in CHECKS)]
    told = audit.to_json()
    assert told["verdict"] == "pass"
    assert set(told["checks"][0]) >= {"name", "verdict", "reason", "where"}
    assert told["not_proved"] == list(NOT_PROVED)


def test_without_its_accountant_an_audit_warns(run, tmp_path, monkeypatch):
    """A check that cannot price lowers the verdict; it never passes in silence."""
    recompute._priced.cache_clear()
    recompute._composition.cache_clear()
    pld._kept_step.cache_clear()
    monkeypatch.setitem(sys.modules, "dp_accounting.pld.privacy_loss_distribution", None)
    path = tmp_path / "bundle.json"
    path.write_text(to_text(run.seal(tmp_path)))
    audit = verify_file(path, now=NOW)
    assert (audit.verdict, verdicts(audit)["epsilon-recomputed"]) == ("warn", "warn")
    (check,) = (check for check in audit.checks if check.name == "epsilon-recomputed")
    assert "dp_accounting" in check.reason


def test_the_json_alone_leaves_the_sums_to_be_doubted(saved, tmp_path):
    alone = tmp_path / "elsewhere" / "bundle.json"
    alone.parent.mkdir()
    alone.write_text(saved.read_text())
    found = verdicts(verify_file(alone, now=NOW))
    assert found["transcripts-signed"] == "warn"
    assert found["sums-replayed"] == found["models-from-sums"] == "not checked"


def test_a_transcript_that_was_swapped_is_no_transcript_of_the_round(saved, run):
    (saved.parent / "files" / "2.transcript").write_bytes(run.transcripts[1])
    found = verdicts(verify_file(saved, now=NOW))
    assert found["transcripts-signed"] == found["sums-replayed"] == "fail"


def test_a_transcript_with_one_other_bit_does_not_replay(saved, run):
    content = bytearray(run.transcripts[2])
    content[len(content) // 2] ^= 1
    (saved.parent / "files" / "2.transcript").write_bytes(bytes(content))
    found = verdicts(verify_file(saved, now=NOW))
    assert found["transcripts-signed"] == found["sums-replayed"] == "fail"


def test_a_forged_sum_is_not_the_model(run, tmp_path):
    """All members and the coordinator sign a model that the sum does not give."""
    event = next(w.event for w in run.script if getattr(w.event, "kind", "") == "outcome")
    forged = run.edited(None, type(event), {"model_after": "e" * 64}, 3)
    audit = verify(forged.seal(tmp_path), folder=tmp_path, now=NOW)
    assert verdicts(audit)["models-from-sums"] == "fail"


def test_survivors_that_are_not_those_of_the_sum(run, tmp_path):
    event = next(w.event for w in run.script if getattr(w.event, "kind", "") == "outcome")
    fewer = tuple(run.keys)[:4]
    audit = verify(
        run.edited(None, type(event), {"survivors": fewer}, 3).seal(tmp_path),
        folder=tmp_path,
        now=NOW,
    )
    assert verdicts(audit)["sums-replayed"] == "fail"
    assert verdicts(audit)["survivors-enough"] == "pass"


def test_another_start_is_not_the_model_that_members_started_from(saved, run):
    (saved.parent / "files" / "start.f32").write_bytes(bytes(4 * DIMENSION))
    assert verdicts(verify_file(saved, now=NOW))["models-from-sums"] == "fail"


@pytest.mark.parametrize("dimension", [0, 5, 7, 2**20, 2**40, 2**53 - 1])
def test_another_length_than_that_of_the_sums_replays_nothing(run, tmp_path, dimension):
    tree = run.seal(tmp_path).to_json()
    tree["claims"]["dimension"] = dimension
    found = verdicts(verify(parse(tree), folder=tmp_path, now=NOW))
    assert found["sums-replayed"] == "fail"


def test_a_transcript_under_the_number_of_another_round(run, tmp_path):
    tree = run.seal(tmp_path).to_json()
    first, second = tree["transcripts"][:2]
    for rounds in ((9, 2), (2, 1)):
        first["round"], second["round"] = rounds
        found = verdicts(verify(parse(tree), folder=tmp_path, now=NOW))
        assert found["sums-replayed"] == "fail"


def test_a_start_that_is_cut_or_missing(saved):
    place = saved.parent / "files" / "start.f32"
    place.write_bytes(place.read_bytes()[:-3])
    assert verdicts(verify_file(saved, now=NOW))["models-from-sums"] == "fail"
    place.unlink()
    assert verdicts(verify_file(saved, now=NOW))["models-from-sums"] == "warn"


def test_a_transcript_that_the_coordinator_did_not_keep_is_not_checked(run, tmp_path):
    tree = run.seal(tmp_path).to_json()
    del tree["transcripts"][0]
    found = verdicts(verify(parse(tree), folder=tmp_path, now=NOW))
    assert found["transcripts-signed"] == "not checked"
    assert found["sums-replayed"] == "pass"
    assert found["models-from-sums"] == "not checked"


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("private", [True, False])
def test_every_mode_has_honest_bundles(tmp_path, masked, private):
    scenario = honest(rounds=1, masked=masked, private=private)
    audit = verify(scenario.seal(tmp_path), folder=tmp_path, now=NOW)
    assert audit.verdict == "pass"
    skipped = {name for name, verdict in verdicts(audit).items() if verdict == "not checked"}
    assert ("epsilon-recomputed" in skipped) != private
    assert ("sums-replayed" in skipped) != masked


def removed(saved, name):
    """The audit of the bundle without a file beside it."""
    (saved.parent / "files" / name).unlink()
    return verify_file(saved, now=NOW)


def test_what_the_agreement_calls_for_has_to_be_there(run, saved, tmp_path):
    """A missing fact never reads as fine: the audit is incomplete, and says of what."""
    tree = run.seal(tmp_path).to_json()
    for names in (["transcripts"], ["claims", "start_model"], ["claims", "model"]):
        cut = copy.deepcopy(tree)
        part = cut[names[0]] if len(names) > 1 else cut
        part[names[-1]] = [] if names == ["transcripts"] else None
        audit = verify(parse(cut), folder=tmp_path, now=NOW)
        assert (audit.verdict, audit.exit_code) == ("incomplete", 3), names
        assert audit.missing
        assert audit.to_json()["missing"] == list(audit.missing)
    assert removed(saved, "start.f32").exit_code == 3
    assert removed(saved, "1.transcript").exit_code == 3


def test_the_first_model_is_compared_in_every_mode(tmp_path):
    scenario = honest(rounds=1, masked=False)
    bundle = scenario.seal(tmp_path)
    assert verify(bundle, folder=tmp_path, now=NOW).verdict == "pass"
    (tmp_path / "files" / "start.f32").write_bytes(bytes(4 * DIMENSION))
    assert verdicts(verify(bundle, folder=tmp_path, now=NOW))["model-chain"] == "fail"


def test_earlier_runs_are_in_the_account(tmp_path):
    earlier = honest(rounds=2, masked=False)
    step = STEP.model_copy(update={"steps": 2 * STEP.steps})
    later = honest(rounds=1, masked=False, history=(step,))
    later.consortium = type(later.consortium)(later.consortium.signed, bytes(range(50, 82)))
    later = later.changed(
        lambda script: [type(w)(w.member, w.event, w.minute + 600) for w in script]
    )
    audit = verify(later.seal(), others=(OtherBundle(earlier.seal()),), now=NOW)
    assert verdicts(audit)["earlier-runs"] == "pass"
    assert audit.verdict == "pass"


def test_another_run_that_spends_at_the_same_time_is_no_reset(run):
    """Its charges are on the account between two rounds of this one."""
    event = next(w.event for w in run.script if getattr(w.event, "kind", "") == "release")
    more = run.edited(
        "retailer-1",
        type(event),
        lambda e: {"epsilon_before": e.epsilon_before + 0.5, "epsilon_after": e.epsilon_after + 1},
        3,
    )
    end = next(w.event for w in run.script if getattr(w.event, "kind", "") == "end")
    more = more.edited("retailer-1", type(end), lambda e: {"epsilon_after": e.epsilon_after + 1})
    assert verdicts(verify(more.seal(), now=NOW))["budget-continued"] == "pass"


def test_nothing_follows_from_another_bundle_that_nobody_signed(run):
    """Whoever wants to discredit a run could otherwise invent a fork."""
    tree = run.seal().to_json()
    entry_at(tree, "release", "retailer-1", 2)["entry"]["event"]["model_before"] = "e" * 64
    audit = verify(run.seal(), others=(OtherBundle(parse(tree)),), now=NOW)
    assert verdicts(audit)["no-fork"] == "not checked"
    earlier = honest(rounds=1, masked=False)
    earlier.consortium = type(earlier.consortium)(earlier.consortium.signed, bytes(range(9, 41)))
    tree = earlier.seal().to_json()
    entry_at(tree, "release", "retailer-1")["signature"] = "0" * 128
    audit = verify(run.seal(), others=(OtherBundle(parse(tree)),), now=NOW)
    assert verdicts(audit)["earlier-runs"] == "not checked"


def test_a_leaf_is_the_entry_as_its_member_sent_it(run):
    bundle = run.seal()
    assert [line.leaf for line in Log(bundle).lines] == [
        leaf_hash(canonical(signed)) for signed in bundle.entries
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no valid JSON"),
        ("[]", "no JSON object"),
        ("{}", "no bundle"),
        ('{"format": "securefl-audit/2"}', "no bundle"),
        ('{"format": "securefl-audit/1", "format": "securefl-audit/1"}', "twice"),
        ("[" * 100_000, "no valid JSON here: nested deeper"),
    ],
)
def test_what_is_no_bundle_is_one_line(tmp_path, text, words):
    path = tmp_path / "bundle.json"
    path.write_text(text)
    with pytest.raises(BundleError, match=words):
        verify_file(path)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        read_object(tmp_path / "none" / "bundle.json")


def test_a_field_that_is_wrong_fails_the_schema_and_nothing_else_is_said(saved):
    tree = json.loads(saved.read_text())
    tree["entries"][3]["entry"]["sequence"] = -1
    saved.write_text(json.dumps(tree))
    audit = verify_file(saved, now=NOW)
    first, *others = audit.checks
    assert (first.name, first.verdict) == ("schema", "fail")
    assert first.where == "entries.3.entry.sequence"
    assert {check.verdict for check in others} == {"not checked"}
    assert audit.exit_code == 1
    with pytest.raises(BundleError, match=r"entries\.3"):
        read_bundle(saved)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/b/c", "files/../../x", "..", "a" * 300]
)
def test_a_bundle_names_no_file_of_the_reader(run, name):
    tree = run.seal().to_json()
    tree["transcripts"][0]["file"] = name
    with pytest.raises(ValueError, match="file"):
        parse(tree)


def test_no_random_change_gets_through_or_breaks_the_auditor(run):
    """Whatever is changed, the bundle is refused or a check notices; nothing else is raised."""
    whole = run.seal().to_json()
    draw = random.Random(5)
    unsigned = {"created", "claims", "transcripts"}
    for _ in range(120):
        tree = copy.deepcopy(whole)
        place = [draw.choice(sorted(tree.keys() - unsigned - {"format"}))]
        node = tree
        while isinstance(node[place[-1]], dict | list) and node[place[-1]]:
            node = node[place[-1]]
            place.append(
                draw.choice(sorted(node)) if isinstance(node, dict) else draw.randrange(len(node))
            )
        old = node[place[-1]]
        node[place[-1]] = draw.choice(
            [value for value in (None, 0, 1e300, "", "f" * 64, [], {}) if value != old]
        )
        try:
            audit = verify(parse(tree), now=NOW)
        except (ValueError, SecureflError):
            continue
        assert audit.verdict == "fail", (place, old)


def test_a_signature_of_a_key_that_counts_is_needed_for_everything(run):
    tree = run.seal().to_json()
    entry_at(tree, "start", "retailer-1")["signature"] = "0" * 128
    assert verdicts(verify(parse(tree), now=NOW))["entry-signatures"] == "fail"


def test_the_agreement_is_read_from_a_run_and_from_a_consortium(run, tmp_path):
    path = tmp_path / "agreement.json"
    path.write_text(json.dumps(run.consortium.signed.to_json()))
    assert pinned_agreement(path).digest() == run.consortium.digest()
    for text in ("{", "[]"):
        path.write_text(text)
        with pytest.raises(InputError, match="no agreement"):
            pinned_agreement(path)
    path.write_text("{}")
    with pytest.raises(SecureflError, match=r"agreement\.json"):
        pinned_agreement(path)


def test_a_time_is_read_in_one_way():
    assert to_timestamp(moment("2026-03-02T09:00:00Z")) == "2026-03-02T09:00:00Z"
    with pytest.raises(InputError, match="--now"):
        moment("yesterday")


def test_the_story_adds_up(run):
    story = explain(run.seal())
    steps = 3 * STEP.steps
    assert [member.steps for member in story.members] == [steps] * 5
    one = epsilon_of([STEP.model_copy(update={"steps": steps})], 1e-5, "rdp")
    everybody = epsilon_of([STEP.model_copy(update={"steps": 5 * steps})], 1e-5, "rdp")
    for member in story.members:
        assert member.epsilon_run == member.epsilon_recomputed == pytest.approx(one)
        assert member.epsilon_life > one
        assert (member.epsilon_before, member.cap) == (0.0, 30.0)
    assert story.customer_of_all == pytest.approx(everybody)
    assert (story.rounds, story.fewest, story.transcripts) == (3, 5, 3)
    json.dumps(story.to_json(), allow_nan=False)


def test_the_story_of_a_run_without_privacy_has_no_epsilon():
    story = explain(honest(rounds=1, masked=False, private=False).seal())
    assert story.unit is story.delta is story.customer_of_all is None
    assert "no noise" in story.protection
