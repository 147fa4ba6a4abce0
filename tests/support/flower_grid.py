"""A consortium behind Flower: its files, its members' processes, and a grid in this process."""

import queue
import re
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from securefl.consortium.agreement.drafting import draft
from securefl.consortium.agreement.workflow import make_key, sign_agreement
from securefl.consortium.keys.key_files import read_key
from securefl.federation.services.bootstrap import connection_context
from securefl.federation.services.member import MemberPaths, serve
from securefl.federation.services.member_presence import relayed
from securefl.federation.services.public_facts import make_facts
from securefl.federation.transport.flower.client_app import app
from securefl.federation.transport.flower.packing import SOCKET
from support.nats_cluster import PROCESSES, begin_process, start_processes
from support.paths import page

SECRET = b"a passphrase for tests"
# A node waits for its member, and works little itself.
_ONE_PLACE_A_NODE = {"client_resources": {"num_cpus": 0.2, "num_gpus": 0.0}}


@dataclass
class Group:
    """The files of a consortium whose agreement names no broker."""

    folder: Path
    names: tuple

    def socket(self, name):
        return self.folder / f"{name}.sock"

    @property
    def hub(self):
        return self.folder / "coordinator.toml"


def blocks(language):
    """The blocks of a language on the page about Flower."""
    text = page("flower.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def found(folder, config, names):
    """Keys, agreement, facts, and the coordinator's own file as the page shows it."""
    folder.mkdir()
    now = datetime.now(UTC)
    for name in (*names, "hub"):
        make_key(folder, name, SECRET)
    secret = folder / "hub.passphrase"
    secret.touch(mode=0o600)
    secret.write_bytes(SECRET + b"\n")
    draft(
        folder / "agreement.toml",
        "group",
        [folder / f"{name}.card" for name in names],
        config,
        created=now,
        expires=now + timedelta(days=30),
        coordinator=folder / "hub.card",
    )
    for name in names:
        sign_agreement(folder / "agreement.toml", read_key(folder / f"{name}.key", SECRET))
    make_facts(config, folder / "agreed.facts")
    group = Group(folder, tuple(names))
    group.hub.write_text(blocks("toml")[0])
    return group


def live_as_member(group, name):
    begin_process(group.folder, name)
    key = read_key(group.folder / f"{name}.key", SECRET)
    context = connection_context(
        group.folder / "agreement.toml", key, group.folder / "agreed.facts", "1", broker=False
    )
    own = group.folder / name
    paths = MemberPaths(own / "state", own / "books", None, None)
    serve(context, paths, relayed(group.socket(name)))


def begin_members(group, stack):
    """Start every member; they are killed when the stack closes."""
    start_processes()
    lives = {}
    for name in group.names:
        lives[name] = PROCESSES.Process(target=live_as_member, args=(group, name), daemon=True)
        lives[name].start()
        stack.callback(lives[name].kill)
    until = time.monotonic() + 300
    while not all(group.socket(name).exists() for name in group.names):
        assert time.monotonic() < until
        time.sleep(0.05)
    return lives


class LoopGrid(Grid):
    """A grid whose nodes are threads that call a ClientApp, one message at a time.

    Each node has an app and a `--node-config`, in the order of the nodes.
    """

    def __init__(self, nodes, stack):
        # What Flower's own processes set; without it no message can be made.
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
        self._inboxes, self._replies, self.asked = {}, {}, 0
        for number, (answer, config) in enumerate(nodes, 1):
            self._inboxes[number] = queue.Queue()
            context = Context(1, number, config, RecordDict(), {})
            life = (number, answer, context)
            threading.Thread(target=self._node, args=life, daemon=True).start()
            stack.callback(self._inboxes[number].put, None)

    def _node(self, number, answer, context):
        while (message := self._inboxes[number].get()) is not None:
            reply = answer(message, context)
            self._replies[message.metadata.message_id] = reply

    def set_run(self, run):
        pass

    @property
    def run(self):
        return None

    def create_message(self, *words, **named):
        raise NotImplementedError

    def get_node_ids(self):
        return list(self._inboxes)

    def push_messages(self, messages):
        return [self._pushed(message) for message in messages]

    def _pushed(self, message):
        self.asked += 1
        copy = Message(
            RecordDict.inflate(message.content.deflate(), dict(message.content.children)),
            message.metadata.dst_node_id,
            message.metadata.message_type,
        )
        copy.metadata.__dict__["_message_id"] = str(self.asked)
        self._inboxes[message.metadata.dst_node_id].put(copy)
        return str(self.asked)

    def pull_messages(self, message_ids):
        return [self._replies.pop(name) for name in list(message_ids) if name in self._replies]

    def send_and_receive(self, messages, *, timeout=None):
        left, replies = set(self.push_messages(messages)), []
        while left:
            replies += (found := self.pull_messages(left))
            left -= {reply.metadata.reply_to_message_id for reply in found}
            time.sleep(0.002)
        return replies


def looped(group):
    """The result of a run over a `LoopGrid`, and the grid."""
    from securefl.federation.services.flower_app import coordinate_over

    with ExitStack() as stack:
        lives = begin_members(group, stack)
        grid = LoopGrid([(app, {SOCKET: str(group.socket(name))}) for name in group.names], stack)
        result = coordinate_over(grid, group.hub)
        for process in lives.values():
            process.join(20)
            assert process.exitcode == 0
    return result, grid


def simulated(group, turns):
    """A run over Flower's simulation engine; returns the seconds of turns of empty messages."""
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp
    from flwr.simulation import run_simulation

    from securefl.federation.services.flower_app import coordinate_over
    from securefl.federation.transport.flower.client_app import answer
    from securefl.federation.transport.flower.packing import ACTION
    from support import flower_probe

    client, server, seconds = ClientApp(), ServerApp(), []
    client.query("probe")(flower_probe.answer)
    sockets = [str(group.socket(name)) for name in group.names]

    @client.query(ACTION)
    def of_member(message, context):
        context.node_config[SOCKET] = sockets[context.node_config["partition-id"]]
        return answer(message, context)

    @server.main()
    def run(grid, context):
        del context
        seconds.extend(flower_probe.turns(grid, len(sockets), turns))
        coordinate_over(grid, group.hub)

    with ExitStack() as stack:
        lives = begin_members(group, stack)
        run_simulation(server, client, len(sockets), backend_config=_ONE_PLACE_A_NODE)
        for process in lives.values():
            process.join(20)
            assert process.exitcode == 0
    return seconds
