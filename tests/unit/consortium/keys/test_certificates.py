"""TLS between a real server and client with certificates that the consortium made itself."""

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest

from securefl.consortium.keys.key_files import read_key
from securefl.consortium.keys.tls_certificates import create_authority, issue_broker
from securefl.errors import KeyFileError

PASSPHRASE = b"four words are better"
TODAY = datetime.now(UTC)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    create_authority(folder, "grocers", PASSPHRASE, TODAY, 30)
    issue_broker(folder, ("localhost", "127.0.0.1", "broker.example.com"), PASSPHRASE, TODAY, 30)
    return folder


def handshake(folder, authority, host):
    """What a client that trusts one authority says to a server with the broker's certificate."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "broker.pem", folder / "broker.key")
    client = ssl.create_default_context(cadata=(authority / "ca.pem").read_text())
    left, right = socket.socketpair()

    def serve():
        try:
            with server.wrap_socket(left, server_side=True) as end:
                end.recv(1)
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(right, server_hostname=host) as end:
            end.send(b"x")
            return end.version()
    finally:
        right.close()
        thread.join()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "broker.example.com"])
def test_the_broker_is_trusted_under_each_of_its_names(tls, host):
    assert handshake(tls, tls, host) == "TLSv1.3"


def test_attack_broker_under_another_name(tls):
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        handshake(tls, tls, "evil.example.com")


def test_attack_broker_of_another_authority(tls, tmp_path):
    create_authority(tmp_path, "grocers", PASSPHRASE, TODAY, 30)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls, tmp_path, "localhost")


def test_attack_expired_certificate(tmp_path):
    create_authority(tmp_path, "grocers", PASSPHRASE, TODAY - timedelta(days=60), 90)
    issue_broker(tmp_path, ("localhost",), PASSPHRASE, TODAY - timedelta(days=60), 30)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(tmp_path, tmp_path, "localhost")


def test_attack_brokers_certificate_that_signs_another(tls, tmp_path):
    """Whoever gets at the broker's key makes no certificates that a member takes."""
    for name in ("ca.pem", "ca.key"):
        (tmp_path / name).write_bytes((tls / name.replace("ca", "broker")).read_bytes())
        (tmp_path / name).chmod(0o600)
    with pytest.raises(KeyFileError, match="is not encrypted"):
        issue_broker(tmp_path, ("localhost",), PASSPHRASE, TODAY, 30)
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate((tls / "broker.pem").read_bytes())
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_keys_are_their_owners_alone_and_the_authoritys_is_encrypted(tls):
    assert (tls / "ca.key").stat().st_mode & 0o777 == 0o600
    assert (tls / "broker.key").stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in (tls / "ca.key").read_bytes()
    with pytest.raises(KeyFileError, match="wrong passphrase"):
        issue_broker(tls, ("localhost",), b"another passphrase", TODAY, 30)


def test_an_authoritys_key_is_no_members_key(tls):
    with pytest.raises(KeyFileError, match="no Ed25519 key"):
        read_key(tls / "ca.key", PASSPHRASE)


def test_nothing_is_overwritten(tls):
    with pytest.raises(KeyFileError, match="exists"):
        create_authority(tls, "grocers", PASSPHRASE, TODAY, 30)


def test_a_host_that_is_none_is_refused(tls, tmp_path):
    create_authority(tmp_path, "grocers", PASSPHRASE, TODAY, 30)
    with pytest.raises(KeyFileError, match="no name or address"):
        issue_broker(tmp_path, ("brökér",), PASSPHRASE, TODAY, 30)
    assert not (tmp_path / "broker.key").exists()
