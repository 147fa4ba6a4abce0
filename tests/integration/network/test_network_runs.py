"""Whole runs over TLS with accounts: the same weights as on one machine, and who gets in."""

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from securefl.audit.export import audit_run, bundle_of
from securefl.consortium.ledger.transparency_log import open_log
from securefl.errors import AgreementError
from securefl.federation.member.own_figures import RESULT, kept_result
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.federation.services.diagnostics import PreflightContext, examine
from securefl.federation.services.member_status import read_member_status
from securefl.federation.services.status import read_status
from securefl.federation.transport.base import EngineError
from securefl.ml.tensor_io import read_tensors
from securefl.ml.vectors import model_digest
from support.consortium_processes import found, open_broker, run_network
from support.small_runs import NETWORK_MEMBERS as NAMES
from support.small_runs import network_config as small


def same_weights(one, other):
    left, right = (read_tensors(path / "model.safetensors")[0] for path in (one, other))
    assert left.keys() == right.keys()
    assert all((left[name] == right[name]).all() for name in left)


def on_one_machine(path, config):
    off = config.references.model_copy(update={"enabled": False})
    run(RunDirectory.create(path, config.model_copy(update={"references": off})))
    return path


@pytest.mark.parametrize("mode", ["secure", pytest.param("plain", marks=pytest.mark.slow)])
def test_a_network_ends_with_the_weights_of_the_local_engine(tmp_path, mode):
    config = small(mode)
    village = found(tmp_path / "village", config, NAMES)
    result = run_network(village)
    same_weights(result, on_one_machine(tmp_path / "local", config))
    assert read_status(result)["state"] == "over"
    for name in NAMES:
        own = read_member_status(village.folder / name / "state")
        assert (own["state"], own["round"], own["member"]) == ("over", config.rounds, name)
        assert own["verified"] == (config.rounds if mode == "secure" else 0)
        assert (Path(own["model"]) / "MODEL_CARD.md").is_file()
    assert audit_run(result).verdict != "fail"
    # Every member holds the result in its own folder, as it verified it.
    handed_out = bundle_of(result).claims.model
    for name in NAMES:
        (folder,) = {path.parent for path in (village.folder / name).rglob(RESULT)}
        assert model_digest(kept_result(folder)[0]).hex() == handed_out


LEDGER_DEATHS = ("entries", "countersigned", "update", "scores", "done")


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEDGER_DEATHS)
def test_members_killed_before_they_speak_leave_no_head_without_their_signature(tmp_path, kind):
    """Mode plain: the answers of the ledger, of training, of scoring and of the end of a round."""
    village = found(tmp_path / "village", small("plain"), NAMES)
    result = run_network(village, deaths=dict.fromkeys(NAMES[:3], kind))
    same_weights(result, on_one_machine(tmp_path / "local", village.config))
    ledger, consortium = RunDirectory.open(result).ledger_path, village.context("hub").consortium
    with closing(open_log(ledger, consortium)) as log:
        heads = log.heads()
    assert len(heads) >= 4
    assert all(set(head.signatures) == set(NAMES) for head in heads)
    assert audit_run(result).verdict != "fail"


@pytest.fixture(scope="module")
def village(tmp_path_factory):
    return found(tmp_path_factory.mktemp("village"), small(), NAMES)


def test_a_key_that_is_nobodys_does_not_enter(village, tmp_path):
    from securefl.consortium.agreement.workflow import make_key
    from securefl.consortium.keys.key_files import read_key
    from securefl.federation.services.bootstrap import connection_context

    make_key(tmp_path, "stranger", b"a passphrase for tests")
    key = read_key(tmp_path / "stranger.key", b"a passphrase for tests")
    with pytest.raises(AgreementError, match="neither a member's nor the coordinator's"):
        connection_context(village.agreement, key, village.facts, "1")


def test_an_agreement_changed_after_signing_admits_nobody(village, tmp_path):
    import shutil

    copy = tmp_path / "changed"
    shutil.copytree(village.folder, copy)
    text = (copy / "agreement.toml").read_text()
    (copy / "agreement.toml").write_text(text.replace("rounds = 3", "rounds = 4"))
    changed = type(village)(copy, village.config, village.names, village.port)
    with pytest.raises(AgreementError):
        changed.context("retailer-0")


def test_an_expired_agreement_admits_nobody(village):
    with pytest.raises(AgreementError, match=r"expired|ended|valid"):
        village.context("retailer-0", at=datetime.now(UTC) + timedelta(days=40))


def test_other_facts_are_another_run(village, tmp_path):
    from securefl.federation.services.public_facts import make_facts

    other = tmp_path / "facts"
    make_facts(small(data={**small().data.model_dump(mode="json"), "items": 41}), other)
    mine = village.context("retailer-0")
    theirs = type(village)(village.folder, village.config, village.names, village.port)
    from securefl.federation.services.bootstrap import connection_context

    assert connection_context(theirs.agreement, theirs.key("hub"), other, "1").run.id != mine.run.id


def test_a_broker_with_an_expired_certificate_is_not_talked_to(tmp_path):
    village = found(tmp_path / "village", small(), NAMES, certificate_days=2)
    with open_broker(village):
        context = village.context("retailer-0")
        with pytest.raises(EngineError, match="certificate has expired"), context.connected(1.0):
            pass


def test_a_member_can_neither_read_nor_write_what_is_anothers(village):
    with open_broker(village):
        layout = village.context("hub").run.layout
        with village.context("retailer-0").connected() as link:
            link.run(link.client.publish(layout.from_member("retailer-1"), b"forged"))
            link.run(link.client.subscribe(layout.to_member("retailer-1")))
            until = time.monotonic() + 10
            while len(link.said_wrong) < 2 and time.monotonic() < until:
                time.sleep(0.02)
            refused = " ".join(link.said_wrong)
    assert f'publish to "{layout.from_member("retailer-1")}"' in refused.lower()
    assert f'subscription to "{layout.to_member("retailer-1")}"' in refused.lower()


def test_the_doctor_finds_nothing_wrong_where_nothing_is(village, tmp_path):
    patient = PreflightContext(
        village.agreement, village.key("retailer-0"), village.facts, "1", None, None, tmp_path
    )
    with open_broker(village):
        findings = list(examine(patient))
    assert [f.name for f in findings if not f.fine] == []
    assert len(findings) == 8


def test_the_doctor_says_what_to_mend_where_the_broker_is_gone(village, tmp_path):
    patient = PreflightContext(
        village.agreement, village.key("retailer-0"), village.facts, "1", None, None, tmp_path
    )
    bad = {f.name: f for f in examine(patient) if not f.fine}
    assert set(bad) == {"certificate", "connection"}
    assert all(finding.mend for finding in bad.values())
