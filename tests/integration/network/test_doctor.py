"""The doctor before a run: it tells one fault of the broker from another, and a wrong clock."""

import os
import signal
import socket
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from securefl.consortium.keys.key_files import generate_key
from securefl.federation.services import broker_checks
from securefl.federation.services.broker_checks import look_at_broker
from securefl.federation.services.diagnostics import PreflightContext, examine
from securefl.federation.transport.faults import FAULTS
from securefl.federation.transport.nats.dev_broker import Broker
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.nats.store_watch import StoreWatch
from support.consortium_processes import found
from support.small_runs import NETWORK_MEMBERS as NAMES
from support.small_runs import network_config as small


@pytest.fixture(scope="module")
def village(tmp_path_factory):
    return found(tmp_path_factory.mktemp("village") / "village", small("plain"), NAMES)


@contextmanager
def broker(village, change=lambda text: text):
    """The broker of the agreement, with a change of its configuration."""
    from securefl.consortium.agreement.storage import read_signed
    from securefl.federation.transport.nats.broker_config import write_broker_config

    signed = read_signed(village.agreement)
    file = write_broker_config(village.folder / "broker", signed, village.folder, datetime.now(UTC))
    other = file.with_name("changed.conf")
    other.write_text(change(file.read_text()))
    with Broker(other, village.port) as running:
        yield running


def findings(village, party=NAMES[0], at=None):
    return {one.name: one for one in look_at_broker(village.context(party), at)}


def advised(finding, code):
    assert not finding.fine
    assert (finding.said, finding.mend) == (FAULTS[code].says, FAULTS[code].todo)


def test_the_doctor_says_that_the_broker_is_down(village):
    """And advises no new certificate."""
    found_ = findings(village)
    advised(found_["certificate"], "refused")
    advised(found_["connection"], "refused")
    assert "ca DIR" not in found_["certificate"].mend


def test_doctor_without_an_agreement_blames_no_clock(tmp_path):
    """Of what cannot be compared with it nothing is said, and no advice given."""
    missing, key = tmp_path / "missing.toml", generate_key()
    party = PreflightContext(missing, key, tmp_path / "f", "1", None, None, tmp_path / "state")
    found_ = {one.name: one for one in examine(party)}
    assert {name: one.fine for name, one in found_.items()} == {"agreement": False, "disk": True}
    assert found_["agreement"].said == f"{missing} does not exist"


@pytest.mark.slow
def test_the_doctor_tells_a_frozen_broker_from_one_that_is_down(village):
    with broker(village) as running:
        os.kill(running.pid, signal.SIGSTOP)
        try:
            advised(findings(village)["connection"], "timeout")
        finally:
            os.kill(running.pid, signal.SIGCONT)


def test_the_doctor_finds_what_is_no_broker(village, monkeypatch):
    """Something else listens at its address: that is no certificate to renew."""
    monkeypatch.setattr(broker_checks, "_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", village.port)):
        found_ = findings(village)
    assert not found_["certificate"].fine
    assert "ca DIR" not in found_["certificate"].mend


def test_the_doctor_says_that_jetstream_is_off(village):
    def off(text):
        return "\n".join(line for line in text.splitlines() if "jetstream" not in line)

    with broker(village, off):
        found_ = findings(village)
    assert found_["certificate"].fine
    advised(found_["connection"], "jetstream-off")


def test_the_doctor_says_that_the_store_is_full(village):
    """By a message of no content, which its reader drops."""

    def narrow(text):
        return text.replace("jetstream {", "jetstream { max_file_store: 100KB, ", 1)

    context = village.context("hub")
    with broker(village, narrow), context.connected() as link:
        layout = context.run.layout
        link.run(StoreWatch(link, layout, [*context.run.members], list).make())
        assert findings(village)["connection"].fine
        work = link.client.request(layout.to_member(NAMES[0]), bytes(200_000), 5)
        link.run(work)
        for party in (NAMES[0], "hub"):
            advised(findings(village, party)["connection"], "store-full")


def test_the_doctor_notices_a_clock_that_is_ahead(village):
    """Or behind: compared with the coordinator's, and the coordinator's with the broker's."""
    context, now = village.context("hub"), datetime.now(UTC)
    layout = context.run.layout
    with broker(village), context.connected() as link:
        assert "not compared" in findings(village)["clock"].said
        link.run(StoreWatch(link, layout, [*context.run.members], list).make())
        link.listen_for_beats(layout.beat(NAMES[0]), lambda part: None, Quota(NAMES[0]))
        for party, whose in ((NAMES[0], "the coordinator"), ("hub", "the broker")):
            assert findings(village, party)["clock"].fine
            ahead = findings(village, party, now + timedelta(minutes=20))["clock"]
            behind = findings(village, party, now - timedelta(minutes=20))["clock"]
            assert f"s ahead of the one of {whose}" in ahead.said
            assert f"s behind the one of {whose}" in behind.said
            assert not any((ahead.fine, behind.fine))
            assert "NTP" in ahead.mend
