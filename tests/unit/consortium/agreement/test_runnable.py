"""No version is in force that cannot run: members have files, and the quorum can be reached."""

from datetime import timedelta

import pytest

from securefl.config.load import load_config
from securefl.consortium.agreement.drafting import add_members, draft, replacement
from securefl.consortium.agreement.storage import read_draft, write_agreement, write_card
from securefl.consortium.agreement.workflow import sign_agreement
from securefl.consortium.keys.parties import key_bundle_of
from securefl.errors import AgreementError

THREE = ("north", "south", "west")


def configured(*names):
    members = [{"name": name, "transactions": "sales.csv"} for name in names]
    data = {"source": "files", "catalogue": "catalogue.csv", "members": members}
    return load_config(None, {"task": "recommendation", "data": data})


@pytest.fixture
def cards(tmp_path, keys):
    for name, key in keys.items():
        write_card(tmp_path / f"{name}.card", key_bundle_of(name, key))
    return lambda *names: [tmp_path / f"{name}.card" for name in names]


@pytest.fixture
def drafted(tmp_path, now, cards):
    """Drafts an agreement of three, over data of some."""

    def make(*names, **options):
        times = {"created": now, "expires": now + timedelta(days=30)}
        path = tmp_path / "agreement.toml"
        draft(path, "grocers", cards(*THREE), configured(*names), **times, **options)
        return path

    return make


@pytest.fixture
def signed(drafted, keys):
    path = drafted(*THREE)
    for name in THREE:
        sign_agreement(path, keys[name])
    return path


def test_members_without_files_are_not_drafted(drafted):
    with pytest.raises(AgreementError, match=r"west has no entry in \[\[data.members\]\]"):
        drafted("north", "south")


def test_a_draft_may_lack_members_and_a_signed_one_not(drafted, cards, keys):
    path = drafted(*THREE, "east")
    with pytest.raises(AgreementError, match="east, which is no member"):
        sign_agreement(path, keys["north"])
    with pytest.raises(AgreementError, match="centre has no entry"):
        add_members(path, cards("centre"))
    add_members(path, cards("east"))
    assert sign_agreement(path, keys["north"])[0] == "north"


def test_a_member_is_added_with_its_files(signed, cards, now):
    with pytest.raises(AgreementError, match="east has no entry"):
        replacement(signed, None, created=now, added=cards("east"))
    too_many = {"added": cards("east"), "config": configured(*THREE, "east", "centre")}
    with pytest.raises(AgreementError, match="centre, which is no member"):
        replacement(signed, None, created=now, **too_many)
    made = replacement(
        signed, None, created=now, added=cards("east"), config=configured(*THREE, "east")
    )
    assert [member.name for member in read_draft(made).members] == [*THREE, "east"]


def test_no_member_is_removed_whose_signature_is_needed(signed, now):
    """No member would take the version: it lacks a signature that has no place in it."""
    with pytest.raises(AgreementError, match=r"agreement revoke .* west"):
        replacement(signed, None, created=now, removed=frozenset({"west"}))


def test_a_quorum_of_the_others_removes_a_member(drafted, cards, keys, now):
    path = drafted(*THREE, "east")
    agreement = add_members(path, cards("east"))
    write_agreement(path, agreement.model_copy(update={"quorum": 3}))
    for name in THREE:
        sign_agreement(path, keys[name])
    gone = {"removed": frozenset({"east"}), "config": configured(*THREE)}
    made = replacement(path, None, created=now, **gone)
    assert [member.name for member in read_draft(made).members] == list(THREE)
