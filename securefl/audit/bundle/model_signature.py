"""Signatures of released models, as model signing tools read them: a Sigstore bundle.

An in-toto statement names the file by its SHA-256, a DSSE envelope signs the statement, and the
bundle adds the certificates (github.com/sigstore/model-transparency, docs/model_signing_format.md;
DSSE v1.0.0). The certificate at the root holds a party's identity key.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from securefl.errors import InputError
from securefl.untrusted.documents import parse_json, read_json
from securefl.untrusted.files import SMALL

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"

_UNUSABLE: Final = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.ExtensionNotFound),
)
"""What reading a certificate can raise."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _Certificate(_Part):
    rawBytes: str  # noqa: N815 - a name of the format


class _Chain(_Part):
    certificates: Annotated[list[_Certificate], Field(min_length=2, max_length=2)]


class _Material(_Part):
    x509CertificateChain: _Chain  # noqa: N815 - a name of the format


class _Signature(_Part):
    sig: str


class _Envelope(_Part):
    payload: str
    payloadType: Literal["application/vnd.in-toto+json"]  # noqa: N815 - a name of the format
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=1)]


class _Bundle(_Part):
    mediaType: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]  # noqa: N815
    verificationMaterial: _Material  # noqa: N815
    dsseEnvelope: _Envelope  # noqa: N815


class _Resource(_Part):
    name: Literal["."]
    algorithm: Literal["sha256"]
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Predicate(_Part):
    resources: Annotated[list[_Resource], Field(min_length=1, max_length=1)]


class _Statement(_Part):
    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    predicateType: Literal["https://model_signing/signature/v1.0"]  # noqa: N815
    predicate: _Predicate


@dataclass(frozen=True)
class ModelSignature:
    """A signature of one file.

    Attributes:
        identity: The identity key at the root of its certificates, 32 bytes.
        digest: SHA-256 of the file that it names, hex.
        fault: What is wrong with it; None if certificates and signature fit.
    """

    identity: bytes
    digest: str
    fault: str | None = None


def statement(name: str, digest: bytes) -> bytes:
    """Return the in-toto statement on one file, given by its SHA-256."""
    tree = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": hashlib.sha256(digest).hexdigest()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [{"name": ".", "algorithm": "sha256", "digest": digest.hex()}],
        },
    }
    return json.dumps(tree, sort_keys=True).encode()


def signed_bytes(payload: bytes) -> bytes:
    """Return what a DSSE envelope signs: the pre-authentication encoding of its payload."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def signature_text(payload: bytes, signature: bytes, chain: Sequence[bytes]) -> str:
    """Return the text of the signature's file.

    Args:
        payload: The statement.
        signature: ECDSA over `signed_bytes(payload)`, DER.
        chain: Certificates, DER, the root last.
    """
    tree = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {
            "x509CertificateChain": {"certificates": [{"rawBytes": _text(one)} for one in chain]},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": _text(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": _text(signature), "keyid": ""}],
        },
    }
    return json.dumps(tree) + "\n"


def read_signature(path: Path) -> ModelSignature:
    """Read and check the signature in a file.

    Raises:
        InputError: If it is no signature of a single file under a party's certificate.
    """
    try:
        found = _Bundle.model_validate(read_json(path, SMALL))
        leaf, root = (
            x509.load_der_x509_certificate(base64.b64decode(one.rawBytes, validate=True))
            for one in found.verificationMaterial.x509CertificateChain.certificates
        )
        identity = root.public_key()
        payload = base64.b64decode(found.dsseEnvelope.payload, validate=True)
        told = _Statement.model_validate(parse_json(payload.decode(), str(path)))
        signature = base64.b64decode(found.dsseEnvelope.signatures[0].sig, validate=True)
    except (ValidationError, *_UNUSABLE):
        raise InputError(f"{path} is no signature of a model") from None
    if not isinstance(identity, Ed25519PublicKey):
        raise InputError(f"{path} is no signature under an identity key of an agreement")
    digest = told.predicate.resources[0].digest
    fault = _fault(leaf, root, signature, signed_bytes(payload))
    return ModelSignature(identity.public_bytes_raw(), digest, fault)


def _fault(
    leaf: x509.Certificate, root: x509.Certificate, signature: bytes, message: bytes
) -> str | None:
    """Return what is wrong with certificates or signature; None if nothing is."""
    try:
        public = leaf.public_key()
        root.verify_directly_issued_by(root)
        leaf.verify_directly_issued_by(root)
        if not _may(root, issues=True) or not _may(leaf, issues=False):
            return "a certificate is not for its place"
        if not isinstance(public, ec.EllipticCurvePublicKey):
            return "the key for models is on no elliptic curve"
        public.verify(signature, message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return "a signature does not fit"
    except _UNUSABLE:
        return "the certificates do not fit together"
    return None


def _may(certificate: x509.Certificate, *, issues: bool) -> bool:
    """Return whether a certificate may issue others, or may sign and no more."""
    extensions = certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    return constraints.ca == issues and (usage.key_cert_sign if issues else usage.digital_signature)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
