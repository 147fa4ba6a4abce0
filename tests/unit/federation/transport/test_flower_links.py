"""The two ends of the carrier over Flower: what they take from a socket, from a node, and drop."""

import ast
import os
import sys
import threading
import time
import tracemalloc
from contextlib import ExitStack
from dataclasses import replace

import pytest

from securefl.errors import RunDirectoryError
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.flower import grid_link
from securefl.federation.transport.flower.grid_link import GridLink, Listener
from securefl.federation.transport.flower.packing import (
    NAME_HEADER,
    NOTHING,
    packed,
    unpacked,
)
from securefl.federation.transport.flower.socket_link import SocketLink
from securefl.federation.transport.nats.chunking import Reassembler
from securefl.federation.transport.nats.part_errors import BadPartError
from securefl.federation.transport.nats.quota import Quota
from securefl_protocols.primitives.signing import SigningKey
from support.flower_scene import Scene, SilentGrid
from support.paths import ROOT


@pytest.fixture
def scene(tmp_path):
    with ExitStack() as stack:
        yield Scene(tmp_path, stack)


def test_question_and_answer_of_many_parts(scene):
    body = os.urandom(9 << 20)
    scene.answering()
    reply = scene.said(scene.question(scene.hub, body=body))
    reader = Reassembler(scene.hub, "north", scene.identity["north"].public, lambda _: 1 << 24)
    notes = [reader.add(headers, content) for headers, content in unpacked(reply)]
    assert notes[-1].body == body[::-1]
    assert scene.link.flush()


def test_greeting_is_answered_with_a_signed_key(scene):
    ((headers, content),) = unpacked(scene.said(packed([(scene.hub.headers, b"")])))
    assert headers == scene.north.headers | {NAME_HEADER: "north"}
    assert content == b""
    # What a greeting announces may be said again by others: only what was sealed is believed.
    assert scene.north.of("coordinator") is None


def test_message_of_a_stranger_is_answered_with_nothing(scene):
    """Under a key that it signed itself, and under the coordinator's announcement of another."""
    assert scene.said(scene.question(scene.stranger)) == NOTHING
    assert scene.said(packed([(scene.stranger.headers, b"")])) == NOTHING
    parts = unpacked(scene.question(scene.stranger))
    forged = packed([(headers | scene.hub.headers, content) for headers, content in parts])
    assert scene.said(forged) == NOTHING
    assert scene.link.arrivals.empty()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x90",
        packed([({}, b"")]),
        b"\x91\x92\x80\x01",
        b"\x91\x92\x81\x01\x02\xc4\x00",
    ],
)
def test_bytes_that_are_no_parts(scene, data):
    assert scene.said(data) == NOTHING


def test_question_that_is_not_answered_is_settled(scene):
    """One of long ago: the loop has no answer to it, and the node must not wait for one."""

    def settle():
        scene.link.settle(scene.link.arrivals.get(timeout=10).note.id)

    threading.Thread(target=settle, daemon=True).start()
    assert scene.said(scene.question(scene.hub)) == NOTHING


def test_newer_question_ends_the_wait_of_the_one_before(scene):
    found = []
    first = threading.Thread(
        target=lambda: found.append(scene.said(scene.question(scene.hub, "1"))), daemon=True
    )
    first.start()
    scene.link.arrivals.get(timeout=10)
    scene.answering()
    assert scene.said(scene.question(scene.hub, "2")) != NOTHING
    first.join(10)
    assert found == [NOTHING]


def test_more_headers_than_any_message_has():
    with pytest.raises(BadPartError):
        unpacked(packed([({str(n): "" for n in range(17)}, b"")]))


@pytest.mark.parametrize("named", ["north", "south", "nobody"])
def test_node_is_taken_for_the_member_that_signed(scene, named):
    """Flower's word for who a node is counts for nothing, nor does the name in the answer."""
    link, heard = GridLink(None, StandingFaults()), []
    other = SigningKey.generate(os.urandom).public
    readers = {
        "north": Reassembler(scene.hub, "north", scene.identity["north"].public),
        "south": Reassembler(scene.hub, "south", other),
    }
    quotas = {name: Quota(name) for name in readers}
    link._listener = Listener(readers, quotas, lambda name, _: heard.append(name))
    link._meet(7, packed([(scene.north.headers | {NAME_HEADER: named}, b"")]))
    assert link._nodes == ({"north": 7} if named == "north" else {})
    assert (scene.hub.of("north") is not None) == (named == "north")


def test_clientapp_has_nothing_that_trains():
    """It imports what a relay needs: neither torch nor keys, and nothing of a member."""
    path = ROOT / "securefl" / "federation" / "transport" / "flower"
    own = {"client_app", "packing"}
    taken = set()
    for name in own:
        for node in ast.walk(ast.parse((path / f"{name}.py").read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                taken.add(node.module)
            elif isinstance(node, ast.Import):
                taken |= {alias.name for alias in node.names}
    ours = {module for module in taken if module.startswith("securefl")}
    assert ours == {
        "securefl.federation.transport.flower.packing",
        "securefl.federation.transport.nats.part_errors",
        "securefl.federation.transport.nats.subjects",
    }
    assert {module.partition(".")[0] for module in taken} - sys.stdlib_module_names == {
        *("flwr", "msgpack", "securefl"),
    }


@pytest.mark.parametrize(
    "data",
    [
        b"\xdd" + (1 << 20).to_bytes(4, "big") + b"\x90" * (1 << 20),
        b"\x91\x92\x81" + b"\xdc\x00\xff" * 100 + b"\x90" * (1 << 20),
        b"\x91\x92\x80" + b"\xdc\x00\xff" * 100 + b"\x90" * (1 << 20),
        b"\x91\x92\x81\xa1x\xdb" + (1 << 20).to_bytes(4, "big") + b"x" * (1 << 20),
    ],
    ids=["parts", "header", "content", "long"],
)
def test_attack_bytes_that_unpack_to_many_objects(data):
    """They are refused before they are objects: each empty list would take 64 times its byte."""
    tracemalloc.start()
    try:
        with pytest.raises(BadPartError):
            unpacked(data)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_parts_with_more_behind_them():
    data = packed([({"a": "b"}, b"c"), ({}, b"")])
    assert unpacked(data) == [({"a": "b"}, b"c"), ({}, b"")]
    with pytest.raises(BadPartError):
        unpacked(data + b"\x90")


def test_socket_path_that_is_too_long_is_named(tmp_path):
    with pytest.raises(RunDirectoryError, match="no socket can be made: AF_UNIX path too long"):
        SocketLink(tmp_path / ("x" * 120), StandingFaults())


def test_attack_node_that_answers_nothing_fills_no_memory(monkeypatch):
    """Of its member's questions the last is kept, and one greeting of each node that is there."""
    monkeypatch.setattr(grid_link, "_message", lambda sent: sent)
    grid = SilentGrid([7, 8])
    link = GridLink(grid, StandingFaults())
    link._listener, link._greeting = Listener({}, {}, lambda name, step: None), b""
    link._nodes["north"] = 7
    for turn in range(20):
        link._outgoing.put(("north", bytes(100)))
        link._looked = -100.0
        greeted = link._greetings.nodes
        link._greetings.nodes = {node: replace(one, again=0.0) for node, one in greeted.items()}
        grid.nodes = [7, 8, 100 + turn]
        link._turn()
    assert grid.pushed == 60
    assert sorted(sent.node for sent in link._sent.values()) == [7, 8, 119]
    assert set(link._greetings.nodes) == {8, 119}
    link.withdraw("north")
    link._turn()
    assert all(not sent.party for sent in link._sent.values())


def test_attack_question_again_and_again_is_held_twice(scene):
    """While the member trains: what carries its questions can repeat one with a model in it."""
    data, said = scene.question(scene.hub, body=bytes(1000)), []
    threads = [
        threading.Thread(target=lambda: said.append(scene.said(data)), daemon=True)
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    while len(said) < 5:  # the last of those that wait is answered with the question
        time.sleep(0.01)
    assert scene.link.arrivals.qsize() == 2
    scene.link.settle("q")
    threads[-1].join(10)


def test_file_in_the_place_of_the_socket_stays(tmp_path):
    path = tmp_path / "agreement.toml"
    path.write_text("signed")
    with pytest.raises(RunDirectoryError, match="no socket can be made"):
        SocketLink(path, StandingFaults())
    assert path.read_text() == "signed"
