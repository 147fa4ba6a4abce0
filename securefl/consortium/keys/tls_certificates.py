"""TLS certificates of the broker: a private certificate authority and the server certificate.

Members have no certificate. They log in with their own nkey (`nkeys`) and trust only the authority
in the agreement that they signed, so that no public authority can issue a certificate for a
man-in-the-middle.
"""

from __future__ import annotations

import ipaddress
import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from securefl.consortium.keys.key_files import check_passphrase, read_secret, write_secret
from securefl.consortium.keys.pkcs8 import KeyTextError, clear_pem, encrypted_pem, read_pem
from securefl.errors import KeyFileError
from securefl.untrusted.files import SMALL, read_bytes, taken

AUTHORITY, AUTHORITY_KEY = "ca.pem", "ca.key"
BROKER, BROKER_KEY = "broker.pem", "broker.key"
AUTHORITY_DAYS = 3650
_EARLIER = timedelta(minutes=5)
"""Validity begins this much earlier, for parties whose clocks are behind."""


def create_authority(
    folder: Path, name: str, passphrase: bytes, at: datetime, days: int = AUTHORITY_DAYS
) -> Path:
    """Create an authority: public `ca.pem`, and `ca.key` under a passphrase, mode 0600.

    Args:
        folder: Folder for both files.
        name: Name of the authority.
        passphrase: Protects the key.
        at: Start of validity, with a time zone.
        days: Length of validity.

    Returns:
        The path of the certificate.

    Raises:
        KeyFileError: If a file exists or cannot be written, or the passphrase is too short.
    """
    check_passphrase(passphrase)
    _refuse_taken(folder / AUTHORITY, folder / AUTHORITY_KEY)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = common_name(name)
    builder = certificate_builder(subject, subject, key.public_key(), at, days)
    # Path length 0: the authority issues server certificates only, and no further authority.
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(key_usage(signs_certificates=True), critical=True)
    certificate = builder.sign(key, SHA256())
    write_secret(folder / AUTHORITY_KEY, encrypted_pem(key, passphrase, os.urandom))
    return _write_certificate(folder / AUTHORITY, certificate)


def issue_broker(
    folder: Path, hosts: tuple[str, ...], passphrase: bytes, at: datetime, days: int
) -> Path:
    """Issue the broker's certificate: `broker.pem`, and unencrypted `broker.key`, mode 0600.

    Args:
        folder: Folder of the authority and of the new files.
        hosts: Host names and addresses of the broker.
        passphrase: Passphrase of the authority's key.
        at: Start of validity, with a time zone.
        days: Length of validity.

    Returns:
        The path of the certificate.

    Raises:
        KeyFileError: If the authority cannot be used, or a file exists or cannot be written.
    """
    authority, authority_key = _authority(folder, passphrase)
    _refuse_taken(folder / BROKER, folder / BROKER_KEY)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = certificate_builder(
        common_name(hosts[0]), authority.subject, key.public_key(), at, days
    )
    names = x509.SubjectAlternativeName([_alternative(host) for host in hosts])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(names, critical=False).add_extension(usage, critical=False)
    builder = builder.add_extension(issuer, critical=False)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(key_usage(signs_certificates=False), critical=True)
    certificate = builder.sign(authority_key, SHA256())
    write_secret(folder / BROKER_KEY, clear_pem(key))
    return _write_certificate(folder / BROKER, certificate)


def _refuse_taken(*paths: Path) -> None:
    """Refuse before the first of two files is written if the second one is there."""
    found = next((path for path in paths if taken(path)), None)
    if found is not None:
        raise KeyFileError(f"{found} exists; a key is never overwritten")


def checked_certificate(pem: str) -> str:
    """Return the text of a certificate unchanged, after parsing it.

    Raises:
        ValueError: If it is not a certificate.
    """
    x509.load_pem_x509_certificate(pem.encode())
    return pem


def certificate_builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey | Ed25519PublicKey,
    at: datetime,
    days: int,
) -> x509.CertificateBuilder:
    """Return a certificate without its usage, valid from a little earlier on for late clocks."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _EARLIER)
        .not_valid_after(at + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Return what a key may sign: certificates, or all else."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(
    folder: Path, passphrase: bytes
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path, public = folder / AUTHORITY_KEY, folder / AUTHORITY
    try:
        key = read_pem(read_secret(path), passphrase)
        certificate = x509.load_pem_x509_certificate(read_bytes(public, SMALL, error=KeyFileError))
    except KeyTextError as error:
        raise KeyFileError(f"{path} {error}") from None
    except OSError as error:
        raise KeyFileError(f"cannot read {public}: {error.strerror}") from None
    except ValueError:
        raise KeyFileError(f"{public} is no certificate") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"{path} is no key of an authority")
    if certificate.public_key() != key.public_key():
        raise KeyFileError(f"{path} is not the key of {public}")
    return certificate, key


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return _domain(host)


def _domain(host: str) -> x509.GeneralName:
    try:
        return x509.DNSName(host)
    except ValueError:
        raise KeyFileError(f"'{host}' is no name or address of a host") from None


def common_name(common: str) -> x509.Name:
    """Return a name for a certificate.

    Raises:
        KeyFileError: If it is empty, or longer than a certificate allows.
    """
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    except ValueError:
        raise KeyFileError(f"'{common}' is no name for a certificate") from None


def _write_certificate(path: Path, certificate: x509.Certificate) -> Path:
    # `write_secret` gives atomicity and refuses to overwrite; a certificate is public, so the mode
    # is relaxed afterwards.
    write_secret(path, certificate.public_bytes(Encoding.PEM))
    path.chmod(0o644)
    return path
