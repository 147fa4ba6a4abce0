"""Whatever is in a file, one line says that it is wrong, and nothing else ever happens."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from securefl.consortium.agreement.key_changes import Rotation, apply_key_changes, sign_statement
from securefl.consortium.agreement.signatures import from_json
from securefl.consortium.agreement.storage import (
    read_card,
    read_folder,
    write_agreement,
    write_card,
    write_signature,
)
from securefl.consortium.keys.key_files import read_key, write_clear_key
from securefl.consortium.keys.parties import key_bundle_of
from securefl.errors import AgreementError, KeyFileError

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DAMAGE = st.tuples(st.integers(0, 1 << 16), st.integers(0, 40), st.binary(max_size=40))


def damaged(content, damage):
    start, length, put = damage
    start %= len(content)
    return content[:start] + put + content[start + length :]


def complaint(read, path):
    """What is said of a file; any other exception than the two ends the test."""
    try:
        read(path)
    except (AgreementError, KeyFileError) as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("folder")


@pytest.fixture
def written(folder, signed, keys, new_key):
    """An agreement with every kind of file beside it."""
    path = folder / "agreement.toml"
    if not path.exists():
        write_agreement(path, signed.agreement)
        for name, signature in signed.signatures.items():
            write_signature(path, name, signature, signed.digest())
        card = key_bundle_of("west", new_key("west", 1))
        statement = Rotation(previous=signed.digest().hex(), card=card)
        signature = sign_statement(statement, keys["west"])
        write_signature(path, "west", signature, apply_key_changes(statement), statement)
        write_card(folder / "west.card", card)
        write_clear_key(folder / "west.key", keys["west"])
    return folder


@pytest.mark.parametrize(
    "pattern", ["agreement.toml", "agreement.north.sig", "agreement.rotation-*.sig"]
)
@QUICK
@given(damage=DAMAGE)
def test_a_damaged_file_beside_an_agreement(written, pattern, damage):
    (place,) = written.glob(pattern)
    before = place.read_bytes()
    place.write_bytes(damaged(before, damage))
    try:
        complaint(read_folder, written / "agreement.toml")
    finally:
        place.write_bytes(before)


@QUICK
@given(damage=DAMAGE)
def test_a_damaged_card(written, damage):
    place = written / "other.card"
    place.write_bytes(damaged((written / "west.card").read_bytes(), damage))
    try:
        card = read_card(place)
    except AgreementError:
        return
    assert card == read_card(written / "west.card")


@QUICK
@given(damage=DAMAGE)
def test_a_damaged_key_shows_nothing_of_itself(written, damage, keys):
    place = written / "west.key"
    before = place.read_bytes()
    secret = before.splitlines()[1].decode()
    place.write_bytes(damaged(before, damage))
    try:
        assert secret[:20] not in complaint(read_key, place)
    finally:
        place.write_bytes(before)


@QUICK
@given(
    tree=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=6,
    )
)
def test_json_that_is_no_signed_agreement(tree):
    with pytest.raises(AgreementError):
        from_json(tree, "bundle")


@pytest.mark.parametrize("key", ["agreement", "signatures", "statements"])
@pytest.mark.parametrize("value", [None, 0, "x", [0], {"x": 0}])
def test_json_with_one_thing_wrong(signed, key, value):
    tree = json.loads(json.dumps(signed.to_json()))
    with pytest.raises(AgreementError, match="bundle"):
        from_json({**tree, key: value}, "bundle")
