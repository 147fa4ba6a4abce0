"""A run is judged by the agreement as it stood then, whatever happened to keys since."""

import pytest

from securefl.audit.verify import verify
from securefl.consortium.agreement.key_changes import (
    Revocation,
    Rotation,
    SignedStatement,
    sign_statement,
)
from securefl.consortium.agreement.signatures import standing
from securefl.consortium.keys.parties import key_bundle_of
from securefl_protocols.primitives.signing import SigningKey
from support.bundle_edits import CHEAT
from support.bundle_scenario import NOW, honest


@pytest.fixture(scope="module")
def run():
    return honest(rounds=1, masked=False)


def followed_by(signed, statement, keys):
    signatures = {name: sign_statement(statement, key) for name, key in keys.items()}
    added = SignedStatement(statement=statement, signatures=signatures)
    return signed.model_copy(update={"statements": (*signed.statements, added)})


def rotated(run, key=77):
    signed = run.consortium.signed
    card = key_bundle_of(CHEAT, SigningKey(bytes([key] * 32)))
    statement = Rotation(previous=standing(signed).digest.hex(), card=card)
    return followed_by(signed, statement, {CHEAT: run.keys[CHEAT]})


def judged(bundle, agreement):
    audit = verify(bundle, agreement=agreement, now=NOW)
    return audit.verdict, {check.name: check for check in audit.checks}


def test_a_key_rotated_after_the_run_leaves_it_passing(run):
    verdict, checks = judged(run.seal(), rotated(run))
    assert verdict == "pass"
    assert checks["agreement-pinned"].verdict == "pass"


def test_a_run_after_a_rotation_passes_with_either_agreement(run):
    """Also where the auditor's copy is from before it: the old key signed the new one."""
    first, now = run.consortium.signed, rotated(run)
    new = honest(rounds=1, masked=False)
    new.keys[CHEAT] = SigningKey(bytes([77] * 32))
    new.consortium = type(new.consortium)(now, bytes(range(100, 132)))
    for pinned in (now, first, None):
        assert judged(new.seal(), pinned)[0] == "pass"


def test_an_old_key_signs_nothing_after_its_rotation(run):
    forged = honest(rounds=1, masked=False)
    forged.consortium = type(forged.consortium)(rotated(run), bytes(range(100, 132)))
    verdict, checks = judged(forged.seal(), rotated(run))
    assert (verdict, checks["entry-signatures"].verdict) == ("fail", "fail")


def test_a_key_revoked_after_the_run_leaves_a_doubt(run):
    """Nobody can tell from a signature whether it was made before the key was stolen."""
    signed = run.consortium.signed
    statement = Revocation(
        previous=standing(signed).digest.hex(),
        member=CHEAT,
        identity=run.keys[CHEAT].public.hex(),
    )
    others = {name: key for name, key in run.keys.items() if name != CHEAT}
    verdict, checks = judged(run.seal(), followed_by(signed, statement, others))
    assert (verdict, checks["entry-signatures"].verdict) == ("warn", "warn")


def test_a_statement_that_nobody_signed_is_no_rotation(run):
    """A bundle whose agreement has a statement of a stranger's making."""
    signed = run.consortium.signed
    card = key_bundle_of(CHEAT, SigningKey(bytes([66] * 32)))
    statement = Rotation(previous=standing(signed).digest.hex(), card=card)
    forged = followed_by(signed, statement, {CHEAT: SigningKey(bytes([66] * 32))})
    bundle = run.seal().model_copy(update={"agreement": forged})
    assert judged(bundle, signed)[0] == "fail"
    assert judged(bundle, None)[0] == "fail"
