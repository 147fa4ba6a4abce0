"""Key agreement, signatures, sealing, derivation and entropy: what they refuse and hide."""

import os

import pytest

from securefl_protocols.primitives.entropy import DeterministicEntropy, draw
from securefl_protocols.primitives.errors import LocalProtocolError, RemoteProtocolError
from securefl_protocols.primitives.kdf import derive_key, key_info
from securefl_protocols.primitives.sealing import seal, unseal
from securefl_protocols.primitives.signing import SigningKey, verify
from securefl_protocols.primitives.x25519 import ExchangeKey

SECRET = bytes(range(32))
LOW_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_point_of_low_order_is_the_peers_fault(point):
    with pytest.raises(RemoteProtocolError, match="low order") as caught:
        ExchangeKey.generate(os.urandom).shared_secret(bytes.fromhex(point), peer=7)
    assert caught.value.peer == 7


@pytest.mark.parametrize("way", [lambda u: u | 1 << 255, lambda _: 2**255 - 10])
def test_a_public_key_is_written_in_one_way(way):
    # Nine is the base point; the other ways of writing it agree on the same secret.
    written = way(9).to_bytes(32, "little")
    with pytest.raises(RemoteProtocolError, match="not below") as caught:
        ExchangeKey.generate(os.urandom).shared_secret(written, peer=7)
    assert caught.value.peer == 7


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_public_key_of_another_length_is_the_peers_fault(length):
    with pytest.raises(RemoteProtocolError, match="32 bytes"):
        ExchangeKey.generate(os.urandom).shared_secret(bytes(length))


def test_private_keys_of_another_length_are_our_fault():
    for kind in (ExchangeKey, SigningKey):
        with pytest.raises(LocalProtocolError, match="32 bytes"):
            kind(bytes(31))


@pytest.mark.parametrize("kind", [ExchangeKey, SigningKey])
def test_a_key_shows_its_public_half_alone(kind):
    key = kind(SECRET)
    shown = f"{key!r} {key} {vars(key)['_key']!r}"
    assert key.public.hex() in shown
    assert SECRET.hex() not in shown
    assert repr(SECRET) not in shown
    assert key.private_bytes() == SECRET


def test_two_members_agree_and_a_third_does_not():
    one, two, three = (ExchangeKey.generate(os.urandom) for _ in range(3))
    assert one.shared_secret(two.public) == two.shared_secret(one.public)
    assert one.shared_secret(three.public) != one.shared_secret(two.public)


@pytest.mark.parametrize("broken", ["message", "domain", "signature", "signer", "short", "key"])
def test_a_changed_signature_is_refused(broken):
    key = SigningKey(SECRET)
    parts = {
        "public": key.public,
        "signature": key.sign(b"keys", b"payload"),
        "domain": b"keys",
        "message": b"payload",
    }
    verify(**parts)
    changed = {
        "message": {"message": b"payloae"},
        "domain": {"domain": b"key", "message": b"spayload"},
        "signature": {"signature": bytes(64)},
        "signer": {"public": SigningKey(bytes(32)).public},
        "short": {"signature": b""},
        "key": {"public": b"\xff" * 31},
    }
    with pytest.raises(RemoteProtocolError) as caught:
        verify(**{**parts, **changed[broken]}, peer=3)
    assert caught.value.peer == 3


@pytest.mark.parametrize("domain", [b"", bytes(256)])
def test_a_domain_has_1_to_255_bytes(domain):
    with pytest.raises(LocalProtocolError):
        SigningKey(SECRET).sign(domain, b"message")


def test_every_changed_bit_of_a_sealed_box_is_seen():
    sealed = seal(SECRET, b"share", b"from 1 to 2", bytes(12))
    for bit in range(8 * len(sealed)):
        broken = bytearray(sealed)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteProtocolError, match="cannot be opened"):
            unseal(SECRET, bytes(broken), b"from 1 to 2", bytes(12))


@pytest.mark.parametrize("length", range(16))
def test_a_truncated_box_is_the_peers_fault(length):
    sealed = seal(SECRET, b"", b"", bytes(12))
    with pytest.raises(RemoteProtocolError):
        unseal(SECRET, sealed[:length], b"", bytes(12), peer=1)


def test_a_box_opens_for_its_key_its_nonce_and_its_context_alone():
    sealed = seal(SECRET, b"share", b"from 1 to 2", bytes(12))
    assert unseal(SECRET, sealed, b"from 1 to 2", bytes(12)) == b"share"
    for key, bound, nonce in (
        (bytes(32), b"from 1 to 2", bytes(12)),
        (SECRET, b"from 1 to 3", bytes(12)),
        (SECRET, b"from 1 to 2", b"\x01" * 12),
    ):
        with pytest.raises(RemoteProtocolError):
            unseal(key, sealed, bound, nonce)


def test_sealing_keys_and_nonces_have_one_length():
    with pytest.raises(LocalProtocolError, match="32 bytes"):
        seal(bytes(16), b"", b"", bytes(12))
    with pytest.raises(LocalProtocolError, match="12 bytes"):
        seal(SECRET, b"", b"", bytes(16))


def test_label_and_context_cannot_be_shifted_into_each_other():
    assert key_info(b"ab", b"c") != key_info(b"a", b"bc")
    assert derive_key(SECRET, label=b"ab", context=b"c") != derive_key(
        SECRET, label=b"a", context=b"bc"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"secret": bytes(31), "label": b"l", "context": b""},
        {"secret": SECRET, "label": b"", "context": b""},
        {"secret": SECRET, "label": b"l", "context": bytes(65536)},
        {"secret": SECRET, "label": b"l", "context": b"", "length": 0},
        {"secret": SECRET, "label": b"l", "context": b"", "length": 8161},
    ],
)
def test_derivation_refuses_what_would_be_weak(arguments):
    with pytest.raises(LocalProtocolError):
        derive_key(arguments.pop("secret"), **arguments)


def test_entropy_that_falls_short_is_refused():
    with pytest.raises(LocalProtocolError, match="31 bytes instead of 32"):
        draw(lambda length: bytes(length - 1), 32)


def test_deterministic_entropy_is_one_stream_whatever_the_pieces():
    one, other = DeterministicEntropy(SECRET), DeterministicEntropy(SECRET)
    assert one(5) + one(0) + one(40) == other(45)
    assert DeterministicEntropy(bytes(32))(8) != DeterministicEntropy(SECRET)(8)
    with pytest.raises(LocalProtocolError):
        DeterministicEntropy(bytes(16))
