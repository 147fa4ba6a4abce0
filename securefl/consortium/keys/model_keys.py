"""A party's key for signing released models, and the certificates that tie it to its identity.

Tools outside of this project verify elliptic curve keys and X.509, and no Ed25519 key of an
agreement. So a P-256 key is derived from the identity key, and the identity key certifies it: the
root of the chain holds the very key that stands in the agreement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from securefl.consortium.keys.tls_certificates import certificate_builder, common_name, key_usage
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.signing import SigningKey

LABEL: Final = b"securefl/1/model-signing"
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""n of P-256 (FIPS 186-5, SP 800-186 section 3.2.1.3)."""
_DAYS: Final = 3650
"""Whether a key counts at a time, the agreement says; verifiers of models look at the chain."""


@dataclass(frozen=True)
class ModelKey:
    """A key for models with its chain.

    Attributes:
        leaf: Certificate of the P-256 key, issued by the identity key.
        root: Certificate of the identity key, issued by itself.
    """

    leaf: x509.Certificate
    root: x509.Certificate
    _private: ec.EllipticCurvePrivateKey = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """Return the ECDSA signature with SHA-256, DER; nonces follow RFC 6979."""
        return self._private.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True))


def model_key(name: str, key: SigningKey, at: datetime) -> ModelKey:
    """Return a party's key for models; it is the same for the same identity key.

    Args:
        name: Name of the party.
        key: Its identity key.
        at: Start of the certificates' validity, with a time zone.

    Raises:
        KeyFileError: If the name cannot stand in a certificate.
    """
    private = ec.derive_private_key(_scalar(key), ec.SECP256R1())
    # Certificates are DER and so begin with 0x30: no such byte string is a message in a domain of
    # this project, whose second byte is an "s".
    identity = Ed25519PrivateKey.from_private_bytes(key.private_bytes())
    party, models = common_name(name), common_name(f"{name} models")
    root = certificate_builder(party, party, identity.public_key(), at, _DAYS)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = root.add_extension(key_usage(signs_certificates=True), critical=True)
    leaf = certificate_builder(models, party, private.public_key(), at, _DAYS)
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(key_usage(signs_certificates=False), critical=True)
    return ModelKey(leaf.sign(identity, None), root.sign(identity, None), private)


def _scalar(key: SigningKey) -> int:
    """Return the private scalar: 128 more bits than the order has, reduced (FIPS 186-5, A.2.1)."""
    drawn = derive_key(key.private_bytes(), label=LABEL, context=b"", length=48)
    return int.from_bytes(drawn, "big") % (_ORDER - 1) + 1
