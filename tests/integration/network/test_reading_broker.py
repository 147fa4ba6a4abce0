"""A broker that reads all that it carries and stores, in a run with a real nats-server."""

import pytest

from support.nats_cluster import Death, Dictated

SLICE = 24


def slices(stage):
    """Pieces of what was asked and said, at several places of each message."""
    for path in stage.folder.rglob("*.dictated"):
        body = path.read_bytes()
        for start in {0, len(body) // 3, len(body) // 2, len(body) - SLICE}:
            piece = body[start : start + SLICE]
            if len(piece) == SLICE and len(set(piece)) > SLICE // 2:  # zeros are anywhere
                yield piece


def _content(path):
    """Of a file that the broker may delete meanwhile, as messages are read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def seen_by_the_broker(stage, cable):
    files = [path for path in (stage.folder / "jetstream").rglob("*") if path.is_file()]
    stored = b"".join(map(_content, files))
    return {"stored": stored, "carried": bytes(cable.carried)}


@pytest.mark.parametrize("sealed", [True, False])
def test_a_broker_reads_nothing_of_what_it_stores_and_carries(stage, sealed):
    """Model, masked vectors, shares, sums; the control, without seals, shows that all are found."""
    scene = stage.set(dimension=20_000, rounds=2, sealed=sealed)
    (cable,) = stage.wire("member-1")
    death = {"coordinator": Death("MaskedInput", 2, late=True)}
    stage.start_all(death, {name: Dictated() for name in scene.names})
    stage.wait_dead("coordinator")
    said = set(slices(stage))
    assert len(said) > 50
    for place, content in seen_by_the_broker(stage, cable).items():
        assert len(content) > 100_000, place
        found = sum(piece in content for piece in said)
        assert found == 0 if sealed else found > 5, place
    stage.start("coordinator")
    stage.finish()
