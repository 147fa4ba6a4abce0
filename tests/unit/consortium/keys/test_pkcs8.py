"""Key files under a passphrase: what is written, who can read it, and what is refused."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from securefl.consortium.keys import pkcs8
from securefl.consortium.keys.pkcs8 import KeyTextError, clear_pem, ed25519, encrypted_pem, read_pem
from securefl_protocols.primitives.entropy import DeterministicEntropy

SEED = bytes(range(32))
PASSPHRASE = b"four words are better"
KNOWN = b"""-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGeMFoGCSqGSIb3DQEFDTBNMCwGCSsGAQQB2kcECzAfBBCgoaKjpKWmp6ipqqus
ra6vAgJAAAIBCAIBBQIBIDAdBglghkgBZQMEASoEELCxsrO0tba3uLm6u7y9vr8E
QMnwvX13lvZzHKiZp3c/rRw8rbY6Wn25s5e1KE5o8zBhjtu9PWwAXxKe/3bEB84+
G09xWihoihEwf/h8LZyr1A4=
-----END ENCRYPTED PRIVATE KEY-----
"""
"""Seed 00..1f, salt a0..af, initialisation vector b0..bf; openssl and cryptography read it too."""


@pytest.fixture(scope="module")
def key():
    return Ed25519PrivateKey.from_private_bytes(SEED)


@pytest.fixture
def cheap(monkeypatch):
    """A cost at which hundreds of files are opened in a second; the container is the same."""
    monkeypatch.setattr(pkcs8, "COST", 2)


def entropy():
    """Salt, then initialisation vector."""
    pieces = iter((bytes(range(0xA0, 0xB0)), bytes(range(0xB0, 0xC0))))
    return lambda length: next(pieces)[:length]


def structure(pem):
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


def as_pem(content):
    return b"\n".join(
        [
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
            base64.b64encode(content),
            b"-----END ENCRYPTED PRIVATE KEY-----",
            b"",
        ]
    )


def test_a_known_file_is_written_byte_for_byte(key):
    assert encrypted_pem(key, PASSPHRASE, entropy()) == KNOWN


def test_a_known_file_is_read_by_cryptography():
    read = load_pem_private_key(KNOWN, PASSPHRASE)
    assert isinstance(read, Ed25519PrivateKey)
    assert read.private_bytes_raw() == SEED
    assert ed25519(read_pem(KNOWN, PASSPHRASE)) == SEED


@pytest.mark.parametrize("passphrase", [b"x", "Käse".encode(), b"\x00\xff" * 40])
def test_a_key_comes_back(cheap, key, passphrase):
    pem = encrypted_pem(key, passphrase, DeterministicEntropy(SEED))
    assert ed25519(read_pem(pem, passphrase)) == SEED


def test_a_longer_key_comes_back(cheap):
    """A P-256 key: every length of the container then takes the long form."""
    key = generate_private_key(SECP256R1())
    read = read_pem(encrypted_pem(key, PASSPHRASE, DeterministicEntropy(SEED)), PASSPHRASE)
    assert isinstance(read, EllipticCurvePrivateKey)
    assert read.private_numbers() == key.private_numbers()
    with pytest.raises(KeyTextError, match="no Ed25519 key"):
        ed25519(read)


def test_salt_and_vector_are_fresh(cheap, key):
    source = DeterministicEntropy(SEED)
    one, two = (structure(encrypted_pem(key, PASSPHRASE, source)) for _ in range(2))
    assert len(one) == len(two)
    assert sum(a != b for a, b in zip(one, two, strict=True)) > 60


@pytest.mark.parametrize("given", [b"", b"four words are bette", b"Four words are better"])
def test_a_wrong_passphrase_is_refused(cheap, key, given):
    pem = encrypted_pem(key, PASSPHRASE, DeterministicEntropy(SEED))
    with pytest.raises(KeyTextError, match=r"wrong passphrase|needs a passphrase"):
        read_pem(pem, given)


def test_a_passphrase_is_asked_for_and_not_needless(cheap, key):
    pem = encrypted_pem(key, PASSPHRASE, DeterministicEntropy(SEED))
    with pytest.raises(KeyTextError, match="needs a passphrase"):
        read_pem(pem, None)
    with pytest.raises(KeyTextError, match="not encrypted"):
        read_pem(clear_pem(key), PASSPHRASE)
    assert ed25519(read_pem(clear_pem(key), None)) == SEED


def test_a_truncated_file_is_refused(cheap, key):
    pem = encrypted_pem(key, PASSPHRASE, DeterministicEntropy(SEED))
    content = structure(pem)
    for cut in range(len(content)):
        with pytest.raises(KeyTextError):
            read_pem(as_pem(content[:cut]), PASSPHRASE)
    for cut in range(0, len(pem) - 30, 7):
        with pytest.raises(KeyTextError):
            read_pem(pem[:cut], PASSPHRASE)


def test_a_changed_byte_is_refused_but_in_one_block(cheap, key):
    """CBC has no seal, so two blocks of the secret's cipher text can be changed unnoticed.

    What comes out is then another key, and not one that the attacker chose or knows. The agreement
    names the public key, and refuses it: this file alone does not.
    """
    content = structure(encrypted_pem(key, PASSPHRASE, DeterministicEntropy(SEED)))
    sealed = len(content) - 64
    for place in range(len(content)):
        for bit in (0x01, 0x80, 0xFF):
            changed = bytearray(content)
            changed[place] ^= bit
            try:
                read = ed25519(read_pem(as_pem(bytes(changed)), PASSPHRASE))
            except KeyTextError:
                continue
            block = (place - sealed) // 16
            # 62 is r of scrypt in the cheap case alone: one bit of a length that the library skips.
            assert (read != SEED and block == 1) or read == SEED, place


@pytest.mark.parametrize(
    "cost",
    [
        (1 << 20, 8, 5),
        (1 << 24, 8, 1),
        (1 << 14, 1 << 20, 1),
        (1 << 14, 8, 1 << 20),
        (1 << 60, 8, 1),
    ],
)
def test_a_cost_that_takes_all_memory_is_refused(monkeypatch, cost):
    """Before any of it is spent: the library itself would try."""
    for name, value in zip(("COST", "BLOCKS", "LANES"), cost, strict=True):
        monkeypatch.setattr(pkcs8, name, value)
    pem = as_pem(pkcs8._structure(bytes(16), bytes(16), bytes(64)))
    monkeypatch.setattr(pkcs8, "load_pem_private_key", lambda *_: pytest.fail("was tried"))
    for text in (pem, b"note: hello\n" + pem, as_pem(b"\x30\x00") + pem):
        with pytest.raises(KeyTextError, match="more work"):
            read_pem(text, PASSPHRASE)


@pytest.mark.parametrize(("rounds", "refused"), [(600_000, False), (1 << 31, True)])
def test_rounds_of_pbkdf2_have_a_bound(monkeypatch, key, rounds, refused):
    """The form that `cryptography` and old `openssl` write, with other rounds put in."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE))
    assert ed25519(read_pem(pem, PASSPHRASE)) == SEED
    number = pkcs8._integer(2048)
    content = structure(pem)
    assert content.count(number) == 1
    # The lengths around it are left as they are: what judges the cost does not need them.
    changed = as_pem(content.replace(number, pkcs8._integer(rounds)))
    monkeypatch.setattr(pkcs8, "load_pem_private_key", lambda *_: "tried")
    if refused:
        with pytest.raises(KeyTextError, match="more work"):
            read_pem(changed, PASSPHRASE)
    else:
        assert read_pem(changed, PASSPHRASE) == "tried"


@pytest.mark.parametrize(("place", "bit"), [(53, 1), (89, 1)])
def test_what_the_library_calls_internal_is_one_line(cheap, key, place, bit):
    """A cost that OpenSSL itself gives up on, or a digest that it does not know."""
    changed = bytearray(structure(encrypted_pem(key, PASSPHRASE, entropy())))
    changed[place] ^= bit
    with pytest.raises(KeyTextError):
        read_pem(as_pem(bytes(changed)), PASSPHRASE)


@pytest.mark.parametrize(
    "text", [b"", b"\xff" * 50, b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n-----END"]
)
def test_what_is_no_key_is_refused(text):
    with pytest.raises(KeyTextError):
        read_pem(text, PASSPHRASE)
