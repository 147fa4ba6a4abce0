"""One process of each party: a second one is refused, or takes over from one that is frozen."""

import os
import signal
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from securefl.errors import RunDirectoryError
from securefl.federation.runs.agreement import keep_agreement
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.folder_lock import locked
from securefl.federation.services.coordinator import _directory, coordinate
from securefl.federation.services.member import MemberPaths, serve
from securefl.federation.transport.base import EngineError
from securefl.federation.transport.nats import journal as nats_journal
from securefl.federation.transport.nats.journal import CoordinatorJournal, Event
from securefl.federation.transport.nats.lease import Lease
from securefl.federation.transport.timeouts import TimeoutPolicy
from support.consortium_processes import found, open_broker
from support.nats_cluster import Death
from support.small_runs import NETWORK_MEMBERS as NAMES
from support.small_runs import network_config as small


@pytest.fixture(scope="module")
def village(tmp_path_factory):
    made = found(tmp_path_factory.mktemp("village") / "village", small("plain"), NAMES)
    with open_broker(made):
        yield made


@pytest.mark.parametrize("party", [NAMES[0], "hub"])
def test_a_second_process_of_a_party_is_refused(village, party):
    """With folders of its own, so that no lock of a folder can know."""
    context = village.context(party)
    subject = context.run.layout.lease(context.name or "coordinator")
    with context.connected() as first, context.connected() as second:
        Lease(first, subject).take()
        with pytest.raises(EngineError, match="another process with this key is connected"):
            Lease(second, subject).take()
        assert first.arrivals.empty()
    with context.connected() as third:  # the first is gone
        Lease(third, subject).take()


def test_two_that_start_at_once_are_one(village):
    """Exactly one of them goes on."""
    context = village.context(NAMES[1])
    subject = context.run.layout.lease(NAMES[1])
    with context.connected() as one, context.connected() as two:
        leases = [Lease(link, subject) for link in (one, two)]
        for lease in leases:
            lease._link.spawn(lease._ask(0.3))
        time.sleep(1)
        assert sorted(lease._refused for lease in leases) == [False, True]


def test_two_members_do_not_hear_each_other(village):
    """The subject is of one party alone."""
    places = [village.context(name) for name in NAMES[:2]]
    with places[0].connected() as one, places[1].connected() as two:
        for link, context in ((one, places[0]), (two, places[1])):
            Lease(link, context.run.layout.lease(context.name)).take()
        foreign = Lease(two, places[0].run.layout.lease(NAMES[0]))
        foreign.take()  # it hears nothing, and nothing hears it
        time.sleep(0.3)
        assert one.arrivals.empty()


def test_a_second_process_in_a_members_folder_is_refused(village, tmp_path):
    context = village.context(NAMES[0])
    with (
        locked(tmp_path / context.run.id.hex()[:16]),
        pytest.raises(RunDirectoryError, match="in use by another process"),
    ):
        serve(context, MemberPaths(tmp_path, tmp_path / "books", None, None))


def test_a_lock_follows_no_link_and_is_its_owners(tmp_path):
    """A link would have the process empty what it names; who can open it can hold the lock."""
    prize = tmp_path / "prize"
    prize.write_text("a ledger")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ".lock").symlink_to(prize)
    with pytest.raises(RunDirectoryError, match="cannot write"), locked(tmp_path / "linked"):
        pass
    assert prize.read_text() == "a ledger"
    with locked(tmp_path / "own"):
        assert (tmp_path / "own" / ".lock").stat().st_mode & 0o777 == 0o600


def test_a_restarted_coordinator_finds_its_folder(village, tmp_path):
    """The configuration in it is the agreed one, also where settings are none."""
    context = village.context("hub")
    assert context.config.references.alone == village.config.references.alone
    for _ in range(2):
        assert _directory(tmp_path / "run", context).config == context.config


def test_another_run_needs_a_folder_of_its_own(village, tmp_path):
    """A finished run would be shown as the result of one that never ran."""
    first = village.context("hub")
    keep_agreement(RunDirectory.create(tmp_path / "run", first.config), first.signed, first.run.id)
    with pytest.raises(RunDirectoryError, match="another run of this agreement"):
        coordinate(village.context("hub", run="2"), tmp_path / "run", TimeoutPolicy())


@pytest.mark.slow
def test_a_frozen_coordinator_is_followed_by_another(stage):
    """The second takes over after the first is frozen; thawed, the first stops by itself.

    Not where it writes to its journal, which is `test_a_process_frozen_while_it_writes`.
    """
    scene = stage.set(rounds=6, pause=1.0)
    stage.start_all(deaths={"coordinator": Death("train-masked", 2, by=signal.SIGSTOP)})
    frozen, mark = stage.processes["coordinator"], scene.folder / "coordinator.dead"
    stage.wait_round(1)
    until = time.monotonic() + 30
    while not (mark.exists() and _stopped(frozen.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    assert _stopped(frozen.pid)
    stage.start("coordinator")
    stage.wait_round(3)
    os.kill(frozen.pid, signal.SIGCONT)
    frozen.join(30)
    assert frozen.exitcode not in {0, None}
    lines = stage.finish()
    assert len(lines) == scene.rounds


def _stopped(process):
    """Whether a process is stopped by a signal."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_process_frozen_while_it_writes(tmp_path, monkeypatch):
    """The next one waits a little and is refused by one line; once the other is gone, it goes on.

    A lock of the folder refuses it sooner, where the two have one.
    """
    monkeypatch.setattr(nats_journal, "_WAIT_SECONDS", 0.02)
    with (
        closing(CoordinatorJournal(tmp_path)) as frozen,
        closing(CoordinatorJournal(tmp_path)) as next_,
    ):
        frozen._database.execute("BEGIN IMMEDIATE")
        writes = (
            partial(next_.section, "round 1"),
            next_.passing_section,
            partial(next_.record, 1, [Event("north", "e.1.1", b"answer")]),
            partial(next_.keep_snapshot, 1, b"state"),
            partial(next_.forget, 1),
        )
        for write in writes:
            with pytest.raises(RunDirectoryError, match="another process is writing in it"):
                write()
        frozen._database.execute("ROLLBACK")
        for write in writes:
            write()
        assert next_.events(1) == []
