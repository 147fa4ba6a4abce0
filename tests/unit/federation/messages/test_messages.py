from typing import get_args

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securefl.federation import messages as m
from securefl.ml.metrics.sums import MetricSums, Ratio


def test_a_message_survives_the_wire():
    message = m.Train(round=3, shared=m.pack_vector(np.arange(4, dtype=np.float32)))
    assert m.decode(m.encode(message)) == message


def test_vectors_survive_the_wire_bit_by_bit():
    vector = np.array([0.1, -1e-30, 3e38], dtype=np.float32)
    assert (m.unpack_vector(m.pack_vector(vector)) == vector).all()


def test_tallies_survive_the_wire():
    tallies = {"a": MetricSums({"rmse": Ratio(2.0, 8.0, root=True), "hit": Ratio(1, 3)})}
    wired = m.decode(m.encode(m.Scores(tallies=m.pack_tallies(tallies))))
    assert m.unpack_tallies(wired.tallies) == tallies


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "obey", "round": 1},
        {"kind": "train", "round": 1},
        {"kind": "train", "round": -1, "shared": b""},
        {"kind": "train", "round": "1", "shared": b""},
        {"kind": "train", "round": 1, "shared": b"", "code": "import os"},
        {"kind": "evaluate", "round": 1, "shared": b"", "split": "all", "kept": False},
        {"round": 1},
        [],
        7,
    ],
)
def test_a_message_off_the_schema_is_refused(fields):
    with pytest.raises(m.MessageError):
        m.decode(msgpack.packb(fields))


def doubled(*pairs):
    """A map in which names may stand twice, as no dict can hold it."""
    body = b"".join(msgpack.packb(name) + msgpack.packb(value) for name, value in pairs)
    return bytes([0x80 | len(pairs)]) + body


@pytest.mark.parametrize(
    "data",
    [
        doubled(("kind", "save"), ("round", 1), ("kind", "keep")),
        doubled(("kind", "keep"), ("round", 1), ("round", 2)),
        doubled(("kind", "leave"), ("kind", "leave")),
        doubled(("round", 1), ("kind", "keep")),
        doubled(("kind", "scores"), ("tallies", {})) + b"\0",
        b"\x82\xa4kind\xa6scores\xa7tallies" + doubled(("a", {}), ("a", {})),
    ],
)
def test_message_that_two_readers_could_differ_on(data):
    """A member's process took the first kind, which saves; the member took the second."""
    with pytest.raises(m.MessageError):
        m.decode(data)


def test_every_message_begins_with_its_kind():
    for kind in get_args(m.AnyMessage):
        assert next(iter(kind.model_fields)) == "kind"


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_nothing_else_happens(data):
    with pytest.raises(m.MessageError):
        m.decode(data)


@pytest.mark.parametrize("data", [b"abc", np.array([np.nan], "<f4").tobytes(), b"\0\0\x80\x7f"])
def test_a_vector_that_is_cut_or_not_finite_is_refused(data):
    with pytest.raises(m.MessageError):
        m.unpack_vector(data)
