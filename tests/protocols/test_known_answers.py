"""The primitives against the values printed in their standards."""

import hashlib
import hmac

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from securefl_protocols.primitives import prg
from securefl_protocols.primitives.kdf import derive_key, key_info
from securefl_protocols.primitives.sealing import seal, unseal
from securefl_protocols.primitives.signing import SigningKey, signed_bytes, verify
from securefl_protocols.primitives.x25519 import ExchangeKey

# NIST SP 800-38A, F.5.5 CTR-AES256.Encrypt
CTR_KEY = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
CTR_COUNTER = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
CTR_PLAIN = (
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
CTR_CIPHER = (
    "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
    "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
)


def xor(one: str, other: str) -> bytes:
    pairs = zip(bytes.fromhex(one), bytes.fromhex(other), strict=True)
    return bytes(a ^ b for a, b in pairs)


def test_keystream_against_sp_800_38a_f_5_5():
    offset = int.from_bytes(bytes.fromhex(CTR_COUNTER), "big") * 16
    stream = prg._keystream(bytes.fromhex(CTR_KEY), offset).update(bytes(64))
    assert stream == xor(CTR_PLAIN, CTR_CIPHER)


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
def test_mask_is_the_encrypted_counter_as_little_endian_words(dtype):
    key = bytes.fromhex(CTR_KEY)
    block = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    stream = b"".join(block.update(counter.to_bytes(16, "big")) for counter in range(5))
    width = np.dtype(dtype).itemsize
    words = [
        int.from_bytes(stream[at : at + width], "little") for at in range(0, len(stream), width)
    ]
    vector = np.zeros(len(words), dtype=dtype)
    prg.add_keystream(vector, key, 1)
    assert vector.tolist() == words


def test_x25519_against_rfc_7748_section_6_1():
    alice = ExchangeKey(
        bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    )
    bob = ExchangeKey(
        bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    )
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert alice.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    assert alice.shared_secret(bob.public).hex() == shared
    assert bob.shared_secret(alice.public).hex() == shared


def textbook_hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    extracted = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    block, output = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        message = block + info + bytes([counter])
        block = hmac.new(extracted, message, hashlib.sha256).digest()
        output += block
    return output[:length]


def test_hkdf_against_rfc_5869():
    secret = bytes.fromhex("0b" * 22)
    case_1 = textbook_hkdf(secret, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    case_3 = textbook_hkdf(secret, b"", b"", 42)
    assert case_1.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    assert case_3.hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )
    ours = derive_key(bytes(range(32)), label=b"label", context=b"context", length=77)
    info = b"\x00\x05label\x00\x07context"
    assert key_info(b"label", b"context") == info
    assert ours == textbook_hkdf(bytes(range(32)), b"", info, 77)


RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970"
            "1cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613"
            "d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_ed25519_against_rfc_8032_section_7_1(seed, public, message, signature):
    key = SigningKey(bytes.fromhex(seed))
    assert key.public.hex() == public
    raw = Ed25519PrivateKey.from_private_bytes(key.private_bytes())
    assert raw.sign(bytes.fromhex(message)).hex() == signature
    ours = key.sign(b"domain", bytes.fromhex(message))
    assert ours == raw.sign(b"\x06domain" + bytes.fromhex(message))
    assert signed_bytes(b"domain", b"x") == b"\x06domainx"
    verify(key.public, ours, b"domain", bytes.fromhex(message))


def test_sealing_against_test_case_16_of_the_gcm_specification():
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    nonce = bytes.fromhex("cafebabefacedbaddecaf888")
    plain = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    bound = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    sealed = bytes.fromhex(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )
    assert seal(key, plain, bound, nonce) == sealed
    assert unseal(key, sealed, bound, nonce) == plain
