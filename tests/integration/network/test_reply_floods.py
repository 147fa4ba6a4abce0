"""A member that asks without end, each time with another reply subject, fills no broker's memory."""

import asyncio
import base64
import contextlib
import json
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from securefl.consortium.keys.key_files import generate_key
from securefl.consortium.keys.nkeys import BrokerKey
from securefl.federation.transport.nats.dev_broker import Broker
from support.broker_world import World, declared

SECONDS = 3.0


class RawClient:
    """A party's connection without the library, which would send a tenth as much."""

    def __init__(self, world, party):
        context = ssl.create_default_context(cadata=world.agreement.broker.authority)
        line = socket.create_connection(("127.0.0.1", world.port))
        self.socket = context.wrap_socket(line, server_hostname="127.0.0.1")
        greeting = b""
        while b"\r\n" not in greeting:
            greeting += self.socket.recv(65536)
        nonce = json.loads(greeting[5 : greeting.index(b"\r\n")])["nonce"]
        key = BrokerKey(world.keys[party])
        signed = base64.urlsafe_b64encode(key._key.sign(nonce.encode())).decode().rstrip("=")
        said = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
        said |= {"lang": "raw", "version": "1", "protocol": 1, "nkey": key.public, "sig": signed}
        self.socket.sendall(b"CONNECT " + json.dumps(said).encode() + b"\r\nPING\r\n")
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self):
        with contextlib.suppress(OSError):
            while self.socket.recv(1 << 20):
                pass

    def ask_without_end(self, subject, inbox, first):
        """Requests for some seconds; returns how many."""
        until, count = time.monotonic() + SECONDS, first
        while time.monotonic() < until:
            asked = (f"PUB {subject} {inbox}.{count + n} 0\r\n\r\n" for n in range(500))
            self.socket.sendall("".join(asked).encode())
            count += 500
        return count


def megabytes(broker):
    lines = Path(f"/proc/{broker.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@pytest.mark.slow
@pytest.mark.parametrize("service", ["message", "heartbeat", "pull", "acknowledgement"])
def test_attack_requests_that_nobody_answers(tmp_path, service):
    """What the first flood took is free for the second one, once its time is over."""
    keys = {name: generate_key() for name in ("north", "south", "west")}
    world = World(tmp_path, keys, generate_key())
    layout = world.layout
    services = layout.member_services("south")
    names = ("message", "heartbeat", "pull", "acknowledgement")
    chosen = services[names.index(service)]
    subject = chosen.subject.replace(">", "x")
    with Broker(world.config, world.port) as broker:
        asyncio.run(declared(world))
        deaf = RawClient(world, "coordinator")
        deaf.socket.sendall(f"SUB {layout.beat('south')} 1\r\n".encode())
        used, count = [megabytes(broker)], 0
        # A message is answered by the store at once, which needs no time to pass.
        pause = 1.0 if service == "message" else chosen.seconds + 1
        for _ in range(3):
            hostile = RawClient(world, "south")
            count = hostile.ask_without_end(subject, layout.inbox("south"), count)
            used.append(megabytes(broker))
            hostile.socket.close()
            time.sleep(pause)
    rest, first, _, third = used
    print(service, count, [round(one) for one in used])  # shown with -s
    assert count > 3000
    assert third - first < max(0.6 * (first - rest), 24.0), (count, used)
