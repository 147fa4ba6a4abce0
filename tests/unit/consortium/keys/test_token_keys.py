"""Identity keys in a token: as good as those in files, and never outside of it."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from securefl.consortium.agreement.workflow import rotate, sign_agreement
from securefl.consortium.keys.nkeys import BrokerKey
from securefl.consortium.keys.parties import key_bundle_of
from securefl.consortium.keys.token_keys import (
    DOMAIN,
    TokenKey,
    TokenPlace,
    make_token_key,
    open_token_key,
    place_of,
)
from securefl.errors import KeyFileError
from securefl.federation.member.journal import MemberJournal
from securefl.federation.transport.session_keys import RunKeys
from securefl_protocols.primitives.signing import SigningKey, signed_bytes, verify, verify_plain
from support.tokens import PIN, new_token


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("token")
        new_token(folder, "other", patch)
        yield new_token(folder, "north", patch)


@pytest.fixture(scope="module")
def key(token):
    return make_token_key(token.uri(), PIN)


def test_a_uri_names_module_token_and_label():
    uri = "pkcs11:token=my%20token;object=identity?module-path=/usr/lib/t.so"
    assert place_of(uri) == TokenPlace("/usr/lib/t.so", "my token", "identity")


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:",
        "pkcs11:token=a;object=b",
        "pkcs11:token=a?module-path=/t.so",
        "pkcs11:token=a;object=b?module-path=/t.so&pin-value=1234",
        "pkcs11:token=a;object=b;slot-id=1?module-path=/t.so",
        "token=a;object=b?module-path=/t.so",
    ],
)
def test_other_uris_are_refused(uri):
    """A PIN does not belong into a command; what is not known may be meant to matter."""
    with pytest.raises(KeyFileError, match="is named pkcs11:"):
        place_of(uri)


class Handle:
    """A private key's handle of a token that signs as it is told to."""

    def __init__(self, sign):
        self.sign = lambda message, mechanism: sign(message)


def test_tokens_that_sign_otherwise_are_refused():
    """With another key, or each time in another way: then nothing can be derived from it."""
    pytest.importorskip("pkcs11")
    one, other = (Ed25519PrivateKey.generate() for _ in range(2))
    public = one.public_key().public_bytes_raw()
    assert TokenKey(None, Handle(one.sign), public).public == public
    with pytest.raises(KeyFileError, match="another key"):
        TokenKey(None, Handle(other.sign), public)
    answers = iter([one.sign(signed_bytes(DOMAIN, public)), bytes(64)])
    with pytest.raises(KeyFileError, match="at random"):
        TokenKey(None, Handle(lambda message: next(answers)), public)


def test_signatures_are_those_of_any_other_key(key):
    verify(key.public, key.sign(b"securefl/1/test", b"text"), b"securefl/1/test", b"text")
    verify_plain(key.public, key.sign_plain(b"note"), b"note")
    assert key.public.hex() in repr(key)


def test_the_key_never_leaves_its_token(key):
    from pkcs11 import Attribute

    with pytest.raises(KeyFileError, match="never leaves"):
        key.private_bytes()
    assert key._private[Attribute.SENSITIVE]
    assert not key._private[Attribute.EXTRACTABLE]


def test_attack_signature_that_secrets_follow_from(key):
    """What the owner derives other keys from is signed for no other party."""
    with pytest.raises(KeyFileError, match="never given away"):
        key.sign(DOMAIN, key.public)
    with pytest.raises(KeyFileError, match="never given away"):
        key.sign_plain(signed_bytes(DOMAIN, key.public))
    assert key.secret() not in {key.public, key.sign(b"securefl/1/test", key.public)[:32]}


def test_it_is_the_same_key_after_a_restart(key, token):
    """Also where it is made once more: a key in a token is never replaced."""
    for again in (open_token_key(token.uri(), PIN), make_token_key(token.uri(), PIN)):
        assert (again.public, again.secret()) == (key.public, key.secret())
    other = make_token_key(token.uri("another"), PIN)
    assert other.public != key.public
    assert other.secret() != key.secret()


def test_wrong_pins_tokens_and_labels_are_one_line(key, token):
    with pytest.raises(KeyFileError, match="PIN is wrong"):
        open_token_key(token.uri().replace("token=north", "token=other"), b"0000")
    with pytest.raises(KeyFileError, match="has 0 Ed25519 keys"):
        open_token_key(token.uri("none"), PIN)
    with pytest.raises(KeyFileError, match="NoSuchToken"):
        open_token_key(token.uri().replace("token=north", "token=south"), PIN)
    with pytest.raises(KeyFileError, match="the token refuses"):
        open_token_key(token.uri() + ".none", PIN)


def test_a_member_lives_with_a_key_in_a_token(key, tmp_path):
    """Its card, its login at the broker, its key of a run and its journal."""
    assert key_bundle_of("north", key).identity == key.public.hex()
    assert BrokerKey(key).public == BrokerKey(key).public
    for _ in range(2):  # the second opens what the first has sealed
        keys = RunKeys(tmp_path, key, bytes(32), "north")
        MemberJournal(tmp_path, key.secret(), bytes(32)).close()
        keys.close()


def test_keys_in_files_derive_from_themselves():
    """As before: whatever was sealed with them opens."""
    seed = bytes(range(32))
    assert SigningKey(seed).secret() == SigningKey.of(seed).secret() == seed


def test_it_signs_agreements_and_takes_the_place_of_a_key_in_a_file(
    key, tmp_path, keys, signed_agreement
):
    change = rotate(signed_agreement, keys["north"], key)
    assert (change.member, change.signatures) == ("north", 1)
    assert sign_agreement(signed_agreement, key)[0] == "north"


@pytest.fixture
def signed_agreement(tmp_path, keys):
    from datetime import UTC, datetime, timedelta

    from securefl.config.load import load_config
    from securefl.consortium.agreement.drafting import draft
    from securefl.consortium.agreement.storage import write_card

    names = ("north", "south", "west")
    for name in names:
        write_card(tmp_path / f"{name}.card", key_bundle_of(name, keys[name]))
    path, now = tmp_path / "agreement.toml", datetime.now(UTC)
    cards = [tmp_path / f"{name}.card" for name in names]
    config = load_config(None, {"data": {"source": "tutorial"}})
    draft(path, "grocers", cards, config, created=now, expires=now + timedelta(days=3))
    for name in names:
        sign_agreement(path, keys[name])
    return path
