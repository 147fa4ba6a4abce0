import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from securefl.consortium.keys.key_files import (
    delivered,
    generate_key,
    read_key,
    read_passphrase,
    write_clear_key,
    write_key,
    write_secret,
)
from securefl.consortium.keys.nkeys import BrokerKey, decode_public
from securefl.errors import KeyFileError
from securefl_protocols.primitives.signing import SigningKey

PASSPHRASE = b"four words are better"


@pytest.fixture(scope="module")
def key():
    return generate_key()


@pytest.fixture(scope="module")
def encrypted(key, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "north.key"
    write_key(path, key, PASSPHRASE)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_key_files_of_their_owner_alone_are_read(tmp_path, key, mode):
    """As a person keeps them, and as Compose mounts them for the user of the image."""
    path = tmp_path / "north.key"
    write_clear_key(path, key)
    path.chmod(mode)
    assert read_key(path).public == key.public


def test_a_key_comes_back_under_its_passphrase(encrypted, key):
    assert read_key(encrypted, PASSPHRASE).private_bytes() == key.private_bytes()


def test_a_key_file_is_its_owners_alone_whatever_the_umask(tmp_path, key):
    before = os.umask(0)
    try:
        write_clear_key(tmp_path / "new" / "north.key", key)
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "north.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["north.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o666])
def test_attack_key_readable_by_others_is_refused(tmp_path, key, mode):
    path = tmp_path / "north.key"
    write_clear_key(path, key)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key(path)


GROUP = os.getegid()


@pytest.mark.parametrize(
    ("place", "owner", "group", "mode", "usable"),
    [
        ("/etc/keys/north.key", 0, GROUP, 0o440, True),  # Kubernetes with fsGroup
        ("/run/secrets/north.key", 0, 0, 0o444, True),  # Docker Swarm
        ("/run/credentials/member/north.key", 0, 0, 0o440, True),  # systemd
        ("/etc/keys/north.key", 0, GROUP, 0o640, False),
        ("/etc/keys/north.key", 0, GROUP + 4321, 0o440, False),
        ("/etc/keys/north.key", 1234, GROUP, 0o440, False),
        ("/run/secrets/north.key", 1234, 0, 0o444, False),
        ("/run/secrets/../tmp/north.key", 0, 0, 0o444, False),
        ("/run/secrets/north.key", 0, 0, 0o464, False),  # a group could replace it
        ("/run/credentials/member/north.key", 0, GROUP, 0o660, False),
        ("/etc/keys/north.key", 0, GROUP, 0o444, False),  # Kubernetes without fsGroup
        ("/run/credentials/other/north.key", 0, GROUP + 4321, 0o444, False),
    ],
)
def test_secrets_as_service_managers_deliver_them(monkeypatch, place, owner, group, mode, usable):
    """Read-only files of root: for a group of ours, or where the folder is the service's own."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/member")
    monkeypatch.setattr(os, "getgroups", list)
    state = SimpleNamespace(st_uid=owner, st_gid=group, st_mode=mode)
    assert delivered(Path(place), state) is usable


@pytest.mark.parametrize(("mode", "gid", "taken"), [(0o440, 4321, True), (0o644, 4321, False)])
def test_mounted_secrets_are_read_by_another_user(open_folder, mode, gid, taken):
    """Real files of root, read by a process of another user: as Kubernetes mounts them."""
    if os.geteuid() != 0:
        pytest.skip("only root can make another owner's file, and be another user")
    place = open_folder / "..2026" / "passphrase"
    place.parent.mkdir(mode=0o755)
    place.write_bytes(PASSPHRASE + b"\n")
    os.chown(place, 0, gid)
    place.chmod(mode)
    (open_folder / "passphrase").symlink_to(place)  # to exchange all files of a secret at once
    said = as_user(10001, gid, lambda: read_passphrase(open_folder / "passphrase").decode())
    assert (said == PASSPHRASE.decode()) is taken
    if not taken:
        assert "delivered with mode 0440" in said
        assert "chmod" not in said


@pytest.fixture
def open_folder():
    """A folder that every user can enter; those of pytest are one user's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_user(uid, gid, what):
    """What a function returns, or the error's text, in a process of another user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            try:
                text = what()
            except KeyFileError as error:
                text = str(error)
            os.write(writer, text.encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as file:
        return file.read()


def test_attack_passphrase_file_readable_by_others_is_refused(tmp_path):
    path = tmp_path / "passphrase"
    path.write_bytes(PASSPHRASE + b"\n")
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_passphrase(path)
    path.chmod(0o600)
    assert read_passphrase(path) == PASSPHRASE


@pytest.mark.parametrize("given", [b"four words are bettar", b""])
def test_attack_wrong_passphrase(encrypted, given):
    with pytest.raises(KeyFileError, match="wrong passphrase") as caught:
        read_key(encrypted, given or b"x")
    assert str(PASSPHRASE) not in str(caught.value)


def test_attack_missing_passphrase(encrypted):
    with pytest.raises(KeyFileError, match="needs a passphrase"):
        read_key(encrypted)


def test_short_passphrases_are_refused(tmp_path, key):
    with pytest.raises(KeyFileError, match="at least 12"):
        write_key(tmp_path / "north.key", key, b"elevenchars")
    assert not list(tmp_path.iterdir())


def test_attack_search_for_the_passphrase_costs_scrypt(encrypted):
    """The library's own way costs less than a millisecond a guess."""
    structure = shutil.which("openssl")
    if structure is None:
        pytest.skip("no openssl here")
    shown = subprocess.run(
        ["openssl", "asn1parse", "-in", encrypted], capture_output=True, text=True, check=True
    ).stdout
    assert "scrypt" in shown
    assert "INTEGER           :4000" in shown
    assert "aes-256-cbc" in shown


def test_openssl_reads_the_key(encrypted, key):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    done = subprocess.run(
        ["openssl", "pkey", "-in", encrypted, "-passin", "stdin", "-pubout", "-outform", "DER"],
        input=PASSPHRASE,
        capture_output=True,
        check=True,
    )
    assert done.stdout[-32:] == key.public


def test_a_key_is_never_overwritten(tmp_path, key):
    path = tmp_path / "north.key"
    write_clear_key(path, key)
    with pytest.raises(KeyFileError, match="never overwritten"):
        write_clear_key(path, generate_key())
    assert read_key(path).public == key.public
    assert [p.name for p in tmp_path.iterdir()] == ["north.key"]


def test_the_key_is_nowhere_in_the_file(encrypted, key):
    text = encrypted.read_bytes()
    assert key.private_bytes() not in text
    assert key.private_bytes().hex().encode() not in text


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAA\n"])
def test_malformed_key_files_are_one_line(tmp_path, content):
    write_secret(tmp_path / "north.key", content)
    with pytest.raises(KeyFileError, match=r"north\.key is no private key"):
        read_key(tmp_path / "north.key")


def test_what_is_no_plain_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyFileError, match="not a plain file"):
        read_key(tmp_path / "pipe")
    with pytest.raises(KeyFileError, match="cannot read"):
        read_key(tmp_path / "missing")


def test_secrets_are_in_no_repr(key):
    assert key.private_bytes().hex() not in repr(key)
    assert "U" in repr(BrokerKey(key))
    assert repr(BrokerKey(key)).count("=") == 1


def test_the_brokers_key_is_not_the_identity_key(key):
    assert decode_public(BrokerKey(key).public) != key.public
    assert BrokerKey(key).public == BrokerKey(SigningKey(key.private_bytes())).public


def test_the_brokers_seed_in_its_spelling(key):
    """What `nkeys` reads from it is the key that the agreement names, and it signs as that key."""
    nkeys = pytest.importorskip("nkeys")
    login = BrokerKey(key)
    assert login.seed().startswith("SU")
    assert login.seed() not in repr(login)
    pair = nkeys.from_seed(bytearray(login.seed().encode()))
    assert pair.public_key.decode() == login.public
    public = Ed25519PublicKey.from_public_bytes(decode_public(login.public))
    public.verify(pair.sign(b"nonce"), b"nonce")
    seed = login.seed().encode()
    _, raw = nkeys.decode_seed(bytearray(seed))
    assert nkeys.encode_seed(bytes(raw), nkeys.PREFIX_BYTE_USER) == seed


def test_a_known_public_key_in_the_brokers_spelling():
    """The prefix U and the checksum as NATS writes them, from the example of its documentation."""
    text = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
    assert len(decode_public(text)) == 32
    with pytest.raises(ValueError, match="wrong"):
        decode_public(text.replace("XU4", "XU5"))


@pytest.mark.parametrize("text", ["", "U", "ü", "A" * 56, "UDXU4RCSJNZOIQHZ"])
def test_what_is_no_brokers_key(text):
    with pytest.raises(ValueError, match="no public user key"):
        decode_public(text)
