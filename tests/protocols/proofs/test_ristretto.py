"""Known answers of ristretto255 (RFC 9496, appendix A), and of what is made of it."""

import os
import sys
from pathlib import Path

import pytest

from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.proofs.ristretto import (
    IDENTITY,
    ORDER,
    check_point,
    combination,
    commitment,
    generator,
    hashed_to_point,
    library,
    scalar_from,
    times,
)

pytest.importorskip("rbcl")

BASE = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
MULTIPLES = {
    0: "0000000000000000000000000000000000000000000000000000000000000000",
    1: BASE,
    2: "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
    3: "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
    4: "da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57",
    5: "e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e",
}
"""Appendix A.1."""
INVALID = {
    "field element that is not canonical": "00" + "ff" * 31,
    "larger than the modulus": "f3" + "ff" * 30 + "7f",
    "negative": "01" + "00" * 31,
    "negative, not small": "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
    "no square": "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    "negative product": "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
    "y of zero": "ec" + "ff" * 30 + "7f",
}
"""Appendix A.2, one of each kind."""
HASHED = {
    "Ristretto is traditionally a short shot of espresso coffee": (
        "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"
    ),
    "made with the normal amount of ground coffee but extracted with": (
        "f26e5b6f7d362d2d2a94c5d0e7602cb4773c95a2e5c31a64f133189fa76ed61b"
    ),
    "about half the amount of water in the same amount of time": (
        "006ccd2a9e6867e6a2c5cea83d3302cc9de128dd2a9a57dd8ee7b9d7ffe02826"
    ),
}
"""Appendix A.3: texts, of which SHA-512 is hashed to an element."""


@pytest.mark.parametrize(("scalar", "point"), MULTIPLES.items())
def test_multiples_of_the_base(scalar, point):
    assert times(scalar, bytes.fromhex(BASE)).hex() == point
    assert combination([1] * scalar, [bytes.fromhex(BASE)] * scalar).hex() == point


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
def test_invalid_encodings(data):
    with pytest.raises(RemoteProtocolError, match="no element"):
        check_point(bytes.fromhex(data), "a point")


@pytest.mark.parametrize(("text", "point"), HASHED.items())
def test_hashed_elements(text, point):
    assert hashed_to_point(text.encode()).hex() == point


def test_scalars_are_canonical():
    assert scalar_from((ORDER - 1).to_bytes(32, "little"), "s") == ORDER - 1
    with pytest.raises(RemoteProtocolError, match="no scalar"):
        scalar_from(ORDER.to_bytes(32, "little"), "s")


def test_commitments_add_up():
    """And the neutral element, and scalars of zero, are no special case."""
    one, other = commitment([3, 0, 5], 1, 7), commitment([4, 9, -5], 1, -7)
    assert combination([1, 1], [one, other]) == commitment([7, 9, 0], 1, 0)
    assert combination([1, -1], [one, one]) == times(5, IDENTITY) == IDENTITY


def test_generators_differ():
    assert len({generator(place) for place in range(600)}) == 600


def test_library_leaves_no_file():
    """rbcl unpacks libsodium at each start; what it unpacked is removed once it is loaded."""
    library()
    path = Path(sys.modules["rbcl._sodium"].lib_path)
    assert os.name == "nt" or not path.exists()
