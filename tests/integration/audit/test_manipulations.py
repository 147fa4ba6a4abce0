"""Every manipulation is found by the check that is named for it; the honest bundle passes."""

import pytest

from securefl.audit.bundle.bundle import Opening
from securefl.audit.checks.registry import CHECKS, SCHEMA
from securefl.audit.explain import explain
from securefl.audit.verify import OtherBundle, verify
from support.bundle_mutations import TABLE
from support.bundle_scenario import NOW, SALT, UNITS, honest, scored


@pytest.fixture(scope="session")
def run():
    return honest()


def named(audit):
    return {check.name: check for check in audit.checks}


def test_the_honest_bundle_passes(run, tmp_path):
    run.openings = tuple(Opening(member=m, units=n, salt=SALT.hex()) for m, n in UNITS.items())
    bundle = run.seal(tmp_path)
    run.openings = ()
    other = OtherBundle(bundle, folder=tmp_path)
    audit = verify(
        bundle,
        folder=tmp_path,
        agreement=bundle.agreement,
        others=(other,),
        model=bundle.claims.model,
        now=NOW,
    )
    found = {check.name: check.verdict for check in audit.checks}
    # No earlier run and no signature of the model was given, and no vote was agreed.
    left = ("earlier-runs", "model-signed", "votes-counted")
    assert {found.pop(name) for name in left} == {"not checked"}
    assert set(found.values()) == {"pass"}, audit
    assert (audit.verdict, audit.exit_code) == ("pass", 0)


def test_the_honest_bundle_with_scores_passes(run, tmp_path):
    """A release of scores, as agreed, is composed with the rest and found in order."""
    bundle, model = scored(run).seal(tmp_path), run.model
    audit = verify(bundle, folder=tmp_path, agreement=bundle.agreement, model=model, now=NOW)
    verdicts = {check.name: check.verdict for check in audit.checks}
    left_out = {"earlier-runs", "delta-small", "model-signed", "votes-counted"}
    assert {v for name, v in verdicts.items() if name not in left_out} == {"pass"}, audit
    before, after = (explain(one) for one in (run.seal(), bundle))
    for plain, more in zip(before.members, after.members, strict=True):
        assert more.steps == plain.steps + 1
        assert more.epsilon_life > plain.epsilon_life
        assert more.epsilon_recomputed > plain.epsilon_recomputed


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_manipulation_is_found_by_its_check(run, row, tmp_path):
    try:
        bundle, arguments = row.act(run)
    except ValueError:
        assert row.check == SCHEMA
        return
    audit = verify(bundle, **{"now": NOW} | arguments)
    check = named(audit)[row.check]
    assert check.verdict == row.verdict, check
    assert check.where
    assert check.remedy
    if row.verdict != "not checked":
        assert audit.exit_code == {"fail": 1, "warn": 3}[audit.verdict]
        assert audit.verdict == "fail" or row.verdict != "fail"


def test_there_are_enough_manipulations_and_nearly_every_check_has_one():
    assert len({row.name for row in TABLE}) == len(TABLE) >= 30
    # Played where their files are; see test_export.py and test_model_signing.py.
    with_files = {"transcripts-signed", "sums-replayed", "models-from-sums", "model-signed"}
    assert {row.check for row in TABLE} | with_files == {c.name for c in CHECKS} | {SCHEMA}
