"""Nodes of Flower as the coordinator has them: slow, without a member, elsewhere, killed."""

import time
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.flower import grid_link
from securefl.federation.transport.flower.greetings import Greetings
from securefl.federation.transport.flower.grid_link import GridLink, Listener
from securefl.federation.transport.flower.packing import NAME_HEADER, packed
from securefl.federation.transport.nats.chunking import Envelope, Reassembler
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.session_keys import RunKeys
from support.flower_scene import RUN, Scene, SilentGrid

RUN_2 = b"2" * 32


@pytest.fixture
def scene(tmp_path):
    with ExitStack() as stack:
        yield Scene(tmp_path, stack)


def test_slow_node_is_greeted_at_longer_and_longer_intervals(monkeypatch):
    """One that takes messages slower than greetings come would answer none that is waited for."""
    monkeypatch.setattr(grid_link, "_message", lambda sent: sent)
    grid = SilentGrid([8])
    link = GridLink(grid, StandingFaults())
    link._listener, link._greeting = Listener({}, {}, lambda name, step: None), b""
    began = time.monotonic()
    for greetings in (1, 2, 3):
        for _ in range(3):
            link._looked = -100.0
            link._turn()
        assert grid.pushed == greetings
        node = link._greetings.nodes[8]
        assert node.again - began > 60 * 2 ** (greetings - 1)
        link._greetings.nodes[8] = replace(node, again=0.0)


def test_node_without_a_member_is_named_once(caplog):
    greetings = Greetings()
    for _ in range(3):
        greetings.answered(8, empty=True)
    assert caplog.text.count("node 8 has no member behind its socket") == 1
    assert greetings.nodes[8].again < time.monotonic() + 6


@pytest.fixture
def elsewhere(scene, tmp_path):
    """The member's keys in another run of the same agreement."""
    with closing(RunKeys(tmp_path / "elsewhere", scene.identity["north"], RUN_2, "north")) as keys:
        yield keys


def coordinator_of(scene):
    """The coordinator's end, with what it knows of its one member."""
    link = GridLink(None, StandingFaults())
    readers = {"north": Reassembler(scene.hub, "north", scene.identity["north"].public)}
    link._listener = Listener(readers, {"north": Quota("north")}, lambda name, step: None)
    return link


def test_answer_of_another_run_is_named_and_no_strike(scene, elsewhere, caplog):
    """It is dropped, its member is found anew, and the question is asked again."""
    link = coordinator_of(scene)
    elsewhere.meet("coordinator", scene.hub.own.public)
    answer = Envelope("north", "coordinator", "a.q", "q", b"of then").parts(elsewhere)
    link._nodes["north"] = 7
    link._take(grid_link._Sent(7, "north", b"what"), packed(answer))
    assert link._listener.quotas["north"].strikes == 0
    assert f"north is still in run {RUN_2.hex()[:16]}: stop it, or restart it" in caplog.text
    assert link.arrivals.empty()
    assert link._nodes == {}
    assert link._pending["north"][1] == b"what"


def test_question_that_a_killed_node_lost_is_asked_again(scene, monkeypatch):
    """A node with a key of its own comes back under its number, without what it had taken."""
    monkeypatch.setattr(grid_link, "_message", lambda sent: sent)
    link = coordinator_of(scene)
    link._grid, link._greeting = SilentGrid([7]), b"greeting"
    link._nodes["north"] = 7
    link._outgoing.put(("north", b"what"))
    link._turn()
    greeted = packed([(scene.north.headers | {NAME_HEADER: "north"}, b"")])
    link._meet(7, greeted)
    assert link._pending == {}  # it may be at work
    link._sent = {name: replace(sent, at=sent.at - 61) for name, sent in link._sent.items()}
    link._looked = -100.0
    link._turn()
    assert sorted(sent.data for sent in link._sent.values()) == [b"greeting", b"what"]
    link._meet(7, greeted)
    assert link._pending["north"][1] == b"what"
    link._turn()
    assert link._grid.pushed == 3
    assert [sent.data for sent in link._sent.values() if sent.party] == [b"what"]


def test_question_to_a_node_that_left_is_kept(monkeypatch):
    """The SuperLink takes no message for it; its member is found anew, and asked then."""
    monkeypatch.setattr(grid_link, "_message", lambda sent: sent)
    link = GridLink(SilentGrid([]), StandingFaults())
    link._listener = Listener({}, {}, lambda name, step: None)
    link._nodes["north"], link._grid.takes = 7, False
    link._outgoing.put(("north", b"what"))
    link._turn()
    assert link._nodes == {}
    assert link._pending["north"][1] == b"what"


def test_member_in_another_run_is_named_at_both_ends(scene, elsewhere, caplog):
    """A greeting of one run is answered with the other's key, which neither side takes."""
    identity = scene.identity["hub"].public
    sender = Reassembler(elsewhere, "coordinator", identity)
    said = scene.link._answer(packed([(scene.hub.headers, b"")]), sender, elsewhere)
    assert f"coordinator is still in run {RUN.hex()[:16]}" in caplog.text
    link = coordinator_of(scene)
    for _ in range(3):
        link._meet(7, said)
    assert caplog.text.count(f"north is still in run {RUN_2.hex()[:16]}") == 1
    assert link._nodes == {}
    assert scene.hub.of("north") is None
    assert elsewhere.of("coordinator") is None
