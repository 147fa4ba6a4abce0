"""Requests without end, each with another reply subject, do not fill the broker's memory."""

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

NAMES = ("message", "heartbeat", "pull", "acknowledgement")
"""As `Layout.member_services` has them."""
FLOODS, REQUESTS = 5, 60_000
"""Kept for two minutes, as a broker does unasked, each flood would take 30 MB more."""


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
        self.reader = threading.Thread(target=self._drain, daemon=True)
        self.reader.start()

    def _drain(self):
        with contextlib.suppress(OSError):
            while self.socket.recv(1 << 20):
                pass

    def flood(self, subject, inbox):
        """Requests with a reply subject each."""
        for first in range(0, REQUESTS, 500):
            asked = (f"PUB {subject} {inbox}.{first + n} 0\r\n\r\n" for n in range(500))
            self.socket.sendall("".join(asked).encode())

    def __enter__(self):
        return self

    def __exit__(self, *details):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.reader.join(5)
        self.socket.close()


def megabytes(broker):
    lines = Path(f"/proc/{broker.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@pytest.mark.slow
@pytest.mark.parametrize("service", NAMES)
def test_attack_requests_that_nobody_answers(tmp_path, service):
    """What the first floods took is free for the later ones, once its time is over."""
    keys = {name: generate_key() for name in ("north", "south", "west")}
    world = World(tmp_path, keys, generate_key())
    layout = world.layout
    asked = layout.member_services("south")[NAMES.index(service)]
    # A message is answered by the store, which takes a moment and not the whole time.
    pause = 2.0 if service == "message" else asked.seconds + 1
    used = []
    with Broker(world.config, world.port) as broker:
        asyncio.run(declared(world))
        with RawClient(world, "coordinator") as deaf:
            deaf.socket.sendall(f"SUB {layout.beat('south')} 1\r\n".encode())
            for _ in range(FLOODS):
                with RawClient(world, "south") as hostile:
                    hostile.flood(asked.subject.replace(">", "x"), layout.inbox("south"))
                    time.sleep(0.5)
                    used.append(round(megabytes(broker)))
                time.sleep(pause)
    assert used[-1] < max(1.25 * used[2], used[2] + 16), (service, used)
