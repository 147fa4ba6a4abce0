"""Messages that no party of this project writes: bytes and fields changed at random."""

import msgpack
import numpy as np

INTEGERS = (0, 1, 2, 5, 127, 128, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -1)
VALUES = (*INTEGERS, True, None, 1.5, float("nan"), float("inf"), "x", "", b"", b"x", [], {}, [1])
NAMES = ("retailer-0", "retailer-1", "rеtailer-0", "retailer-0\0", " retailer-0", "x" * 1000)
BOMBS = (
    b"",
    b"\xc1\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff\xa1a",
    b"\x81\xa4kind" + b"\x91" * 1000,
    b"\x81" * 1000,
    b"\x91" * 1000 + b"\xc0",
    b"\x81\xa4kind\xc6\xff\xff\xff\xff",
    b"\x81\xdd\x7f\xff\xff\xff",
    b"\xd6\xff\0\0\0\0",
    b"\x81\xc4\x04kind\xa5train",
    b"\x82\xa4kind\xa4save\xa4kind\xa4keep",
    b"\x83\xa4kind\xa4save\xa5round\x01\xa4kind\xa4keep",
    b"\x83\xa4kind\xa5leave\xa5round\x01\xa4kind\xa4keep",
    b"\x82\xa5round\x01\xa4kind\xa4keep",
    msgpack.packb({"kind": "train-masked", "shared": 5}),
    msgpack.packb({"kind": "evaluate"}),
    msgpack.packb({"kind": "train", "shared": b"", "named": [1]}),
    msgpack.packb({"kind": "train", "shared": b"", "named": 1}),
    msgpack.packb({"kind": "train", "shared": b"", "named": b"1"}),
    msgpack.packb(["train"]),
    msgpack.packb({"kind": ["train"]}),
    msgpack.packb({"kind": "train"}) * 2,
    msgpack.packb({"kind": "train", "shared": b""}) + b"\0",
    msgpack.packb({1: 2}),
    msgpack.packb({"kind": "train", 1: 2}),
    msgpack.packb({"kind": "deliver", "round": 1, "shared": None}),
)
"""What has killed a member, or might: bodies that do not decode, or announce more than memory."""


def models(draw, length):
    """A vector that is no model: of another length, or with coordinates at extremes."""
    vector = np.zeros(length, np.float32)
    way = draw.random()
    if way < 0.4:
        vector[draw.randrange(length)] = draw.choice([np.inf, np.nan, -0.0, 1e-45, 3.4e38])
    elif way < 0.7:
        vector[:] = draw.choice([3.4e38, 1e30, 1e-40, -1e20])
    else:
        vector = np.resize(vector, draw.randrange(1, 2 * length))
    return vector.astype("<f4").tobytes()


def mutated(draw, message, dimension):
    """A message with bytes or fields changed.

    Args:
        draw: A `random.Random`.
        message: A good one.
        dimension: Of the model.
    """
    way = draw.random()
    if way < 0.12 and message:
        changed = bytearray(message)
        for _ in range(draw.choice([1, 2, 8])):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        return bytes(changed)
    if way < 0.2:
        return message[: draw.randrange(len(message) + 1)] + draw.randbytes(draw.randrange(3))
    if way < 0.27:
        return draw.choice(BOMBS)
    fields = msgpack.unpackb(message)
    for _ in range(draw.choice([1, 1, 2])):
        name = draw.choice(list(fields))
        fields[name] = _value(draw, name, fields[name], dimension)
    if draw.random() < 0.08:
        fields[draw.choice(["extra", "round", "named", ""])] = draw.choice(VALUES)
    if draw.random() < 0.05:
        fields.pop(draw.choice(list(fields)))
    return msgpack.packb(fields)


def _value(draw, name, value, dimension):
    if name == "shared" and draw.random() < 0.6:
        return models(draw, dimension)
    if isinstance(value, bytes):
        return draw.choice([b"", value[:-1], value + b"\0", bytes(len(value)), b"{" * 400])
    if isinstance(value, list):
        other = draw.choice(NAMES)
        return draw.choice([[], value[:-1], value + value[:1], value[::-1], [other] * 3, [1, 2]])
    if isinstance(value, str) and draw.random() < 0.6:
        return draw.choice((*NAMES, "train", "test", "all", "save", "keep", "protocol"))
    return draw.choice(VALUES)
