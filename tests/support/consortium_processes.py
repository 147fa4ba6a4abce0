"""A consortium as its parties would make it: keys, certificates, agreement, facts, broker."""

import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from securefl.consortium.agreement.drafting import draft
from securefl.consortium.agreement.storage import read_signed
from securefl.consortium.agreement.workflow import make_key, sign_agreement
from securefl.consortium.keys.key_files import read_key
from securefl.consortium.keys.tls_certificates import create_authority, issue_broker
from securefl.federation.member.spec import MemberSpec
from securefl.federation.services.bootstrap import connection_context
from securefl.federation.services.coordinator import coordinate
from securefl.federation.services.member import MemberPaths, serve
from securefl.federation.services.member_process import MemberProcess
from securefl.federation.services.public_facts import make_facts
from securefl.federation.transport.nats.broker_config import write_broker_config
from securefl.federation.transport.nats.dev_broker import Broker
from securefl.federation.transport.timeouts import TimeoutPolicy, kind_of
from securefl_cli.main import securefl
from support.brokers import free_port
from support.long_updates import forced, have_lie, let_run
from support.nats_cluster import PROCESSES, begin_process, die, start_processes
from support.vote_setup import attack_in

SECRET = b"a passphrase for tests"


@dataclass
class Village:
    """The files of a consortium, and its broker's place."""

    folder: Path
    config: object
    names: tuple
    port: int

    @property
    def agreement(self):
        return self.folder / "agreement.toml"

    @property
    def facts(self):
        return self.folder / "facts"

    def key(self, name):
        return read_key(self.folder / f"{name}.key", SECRET)

    def context(self, name, run="1", **options):
        return connection_context(self.agreement, self.key(name), self.facts, run, **options)


def found(folder, config, names, certificate_days=30, now=None):
    """Makes everything that a run needs but the processes."""
    folder.mkdir(exist_ok=True)
    now, port = now or datetime.now(UTC), free_port()
    for name in (*names, "hub"):
        make_key(folder, name, SECRET)
    create_authority(folder, "test", SECRET, now - timedelta(days=5))
    issue_broker(folder, ("127.0.0.1",), SECRET, now - timedelta(days=5), certificate_days)
    village = Village(folder, config, tuple(names), port)
    draft(
        village.agreement,
        "village",
        [folder / f"{name}.card" for name in names],
        config,
        created=now,
        expires=now + timedelta(days=30),
        coordinator=folder / "hub.card",
        meeting=(f"tls://127.0.0.1:{port}", folder / "ca.pem"),
    )
    for name in names:
        sign_agreement(village.agreement, village.key(name))
    make_facts(config, village.facts)
    return village


def open_broker(village):
    """The broker with the configuration that the agreement makes."""
    place = village.folder / "broker"
    signed = read_signed(village.agreement)
    file = write_broker_config(place, signed, village.folder, datetime.now(UTC))
    return Broker(file, village.port)


def mortal_post(mark, kind):
    """A member dies once, when it is about to send its second answer of a kind."""
    send, said = MemberProcess._send, []

    def send_or_die(self, note):
        said.append(kind_of(note.body))
        if said.count(kind) == 2 and not mark.exists():
            die(mark)
        send(self, note)

    MemberProcess._send = send_or_die


def life_of_member(village, name, dies_over=None):
    begin_process(village.folder, name)
    folder = village.folder / name
    if dies_over is not None:
        mortal_post(village.folder / f"{name}.dead", dies_over)
    serve(village.context(name), MemberPaths(folder / "state", folder / "books", None, None))


def life_of_hostile(village, name, attack, rounds):
    """A real member in a process of its own that attacks in some rounds, or in all."""
    attack_in(None, attack, rounds, who=name)
    life_of_member(village, name)


def life_of_too_long(village, name):
    """A real member whose updates are ten times too long, and which proves what a liar can."""
    honest = MemberSpec.build

    def build(spec):
        party = honest(spec)
        let_run(party.masked)
        return party

    MemberSpec.build = build
    have_lie(pytest.MonkeyPatch(), village.names.index(name), forced)
    life_of_hostile(village, name, "scale", None)


def life_of_coordinator(village):
    begin_process(village.folder, "hub")
    coordinate(
        village.context("hub"),
        village.folder / "run",
        TimeoutPolicy(tick=0.02, silence=300.0, least=300.0),
    )


def life_of_commanded_coordinator(village, *options):
    """`securefl coordinator`, as somebody types it."""
    begin_process(village.folder, "hub")
    passphrase = village.folder / "hub.passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_bytes(SECRET + b"\n")
    command = ["coordinator", village.agreement, "--key", village.folder / "hub.key"]
    command += ["--facts", village.facts, "--passphrase-file", passphrase, "--run", "1"]
    command += ["--out", village.folder / "run", "--quiet", *options]
    securefl(list(map(str, command)), standalone_mode=False)


def watched_run(village, options, look, pause):
    """What `look` sees of a run while it lasts; the coordinator is a command with these options."""
    seen = []
    start_processes()
    with ExitStack() as stack:
        stack.enter_context(open_broker(village))
        members = [(life_of_member, (village, name)) for name in village.names]
        hub = (life_of_commanded_coordinator, (village, *options))
        for life, details in (*members, hub):
            process = PROCESSES.Process(target=life, args=details, daemon=True)
            process.start()
            stack.callback(process.kill)
        until = time.monotonic() + 120
        while process.exitcode is None and time.monotonic() < until:
            seen.append(look())
            time.sleep(pause)
        assert process.exitcode == 0, (village.folder / "hub.log").read_text()[-3000:]
    return seen


def begun(stack, village, others):
    """All processes of a run, begun; `others` has targets and arguments by name, or None."""
    start_processes()
    stack.enter_context(open_broker(village))
    lives = {}
    for name in village.names:
        target, args = others.get(name, (life_of_member, ()))
        process = PROCESSES.Process(target=target, args=(village, name, *args), daemon=True)
        lives[name] = process
    hub = PROCESSES.Process(target=life_of_coordinator, args=(village,), daemon=True)
    for process in (*lives.values(), hub):
        process.start()
        stack.callback(process.kill)
    return lives, hub


def run_network(village, seconds=120, deaths=None, hostile=None):
    """Everybody in a process of their own, until the run is over; who dies is started again."""
    with ExitStack() as stack:
        deaths = deaths or {}
        dying = {name: (life_of_member, (kind,)) for name, kind in deaths.items()}
        attacking = {name: (life_of_hostile, what) for name, what in (hostile or {}).items()}
        lives, hub = begun(stack, village, dying | attacking)
        for name in deaths:
            lives[name].join(seconds)
            assert lives[name].exitcode == -signal.SIGKILL
            lives[name] = PROCESSES.Process(
                target=life_of_member, args=(village, name), daemon=True
            )
            lives[name].start()
            stack.callback(lives[name].kill)
        hub.join(seconds)
        assert hub.exitcode == 0, (village.folder / "hub.log").read_text()[-3000:]
        for process in lives.values():
            process.join(20)
            assert process.exitcode == 0
    return village.folder / "run"
