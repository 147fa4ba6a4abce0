"""Certificates for the broker's TLS: an authority of the consortium's own, and the broker's.

Members have none. They log in with a key of their own (`broker_keys`), and take the broker's
certificate from the one authority that stands in the agreement they signed.
"""

from __future__ import annotations

import ipaddress
import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from securefl.consortium.keys.key_files import check_passphrase, read_secret, write_secret
from securefl.consortium.keys.pkcs8 import KeyTextError, clear_pem, encrypted_pem, read_pem
from securefl.errors import KeyFileError

AUTHORITY, AUTHORITY_KEY = "ca.pem", "ca.key"
BROKER, BROKER_KEY = "broker.pem", "broker.key"
AUTHORITY_DAYS = 3650
_EARLIER = timedelta(minutes=5)


def create_authority(
    folder: Path, name: str, passphrase: bytes, at: datetime, days: int = AUTHORITY_DAYS
) -> Path:
    """A new authority: `ca.pem` for everybody, `ca.key` under a passphrase, mode 0600.

    Args:
        folder: Where both are written.
        name: What the authority is called.
        passphrase: Protects the key.
        at: From when it is valid, with a time zone.
        days: For how long.

    Returns:
        The path of the certificate.

    Raises:
        KeyFileError: If a file exists or cannot be written, or the passphrase is short.
    """
    check_passphrase(passphrase)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = _builder(subject, subject, key.public_key(), at, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    certificate = builder.sign(key, SHA256())
    write_secret(folder / AUTHORITY_KEY, encrypted_pem(key, passphrase, os.urandom))
    return _write_certificate(folder / AUTHORITY, certificate)


def issue_broker(
    folder: Path, hosts: tuple[str, ...], passphrase: bytes, at: datetime, days: int
) -> Path:
    """A certificate for the broker: `broker.pem`, and `broker.key` in the clear, mode 0600.

    Args:
        folder: Where the authority is, and the certificate will be.
        hosts: Names and addresses under which the broker is reached.
        passphrase: Of the authority's key.
        at: From when it is valid, with a time zone.
        days: For how long.

    Returns:
        The path of the certificate.

    Raises:
        KeyFileError: If the authority cannot be used, or a file exists or cannot be written.
    """
    authority, authority_key = _authority(folder, passphrase)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(hosts[0]), authority.subject, key.public_key(), at, days)
    names = x509.SubjectAlternativeName([_alternative(host) for host in hosts])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(names, critical=False).add_extension(usage, critical=False)
    builder = builder.add_extension(issuer, critical=False)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    certificate = builder.sign(authority_key, SHA256())
    write_secret(folder / BROKER_KEY, clear_pem(key))
    return _write_certificate(folder / BROKER, certificate)


def checked_certificate(pem: str) -> str:
    """The text of a certificate, unchanged.

    Raises:
        ValueError: If it is none.
    """
    x509.load_pem_x509_certificate(pem.encode())
    return pem


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    at: datetime,
    days: int,
) -> x509.CertificateBuilder:
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


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
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
    path, place = folder / AUTHORITY_KEY, folder / AUTHORITY
    try:
        key = read_pem(read_secret(path), passphrase)
        certificate = x509.load_pem_x509_certificate(place.read_bytes())
    except KeyTextError as error:
        raise KeyFileError(f"{path} {error}") from None
    except OSError as error:
        raise KeyFileError(f"cannot read {place}: {error.strerror}") from None
    except ValueError:
        raise KeyFileError(f"{place} is no certificate") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"{path} is no key of an authority")
    if certificate.public_key() != key.public_key():
        raise KeyFileError(f"{path} is not the key of {place}")
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


def _name(common: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    except ValueError:
        raise KeyFileError(f"'{common}' is no name for a certificate") from None


def _write_certificate(path: Path, certificate: x509.Certificate) -> Path:
    # Written as a new file for its owner, then opened to all: a certificate is public.
    write_secret(path, certificate.public_bytes(Encoding.PEM))
    path.chmod(0o644)
    return path
