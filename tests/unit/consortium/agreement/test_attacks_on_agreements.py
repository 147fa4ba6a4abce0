"""Attacks on what five companies agreed on; each is named after what the attacker does."""

from dataclasses import replace
from datetime import timedelta

import pytest

from securefl.consortium.agreement.key_changes import (
    Revocation,
    Rotation,
    SignedStatement,
    apply_key_changes,
    sign_statement,
)
from securefl.consortium.agreement.model import from_tree, new_agreement, to_tree
from securefl.consortium.agreement.signatures import (
    SignedAgreement,
    check,
    from_json,
    sign,
    signed_by,
    standing,
)
from securefl.consortium.agreement.storage import (
    agreement_toml,
    read_signed,
    write_agreement,
    write_signature,
)
from securefl.consortium.agreement.versions import amended, check_version, remember
from securefl.consortium.keys.parties import KeyBundle, key_bundle_of, party_of
from securefl.errors import AgreementError


def rotation(signed, name, old, new):
    """A member's own statement that its key is another one now."""
    statement = Rotation(previous=signed.digest().hex(), card=key_bundle_of(name, new))
    return SignedStatement(statement=statement, signatures={name: sign_statement(statement, old)})


def revocation(signed, name, keys, signers, card=None):
    now = standing(signed)
    statement = Revocation(
        previous=now.digest.hex(), member=name, identity=now.member(name).identity, card=card
    )
    signatures = {signer: sign_statement(statement, keys[signer]) for signer in signers}
    return SignedStatement(statement=statement, signatures=signatures)


def with_statement(signed, statement):
    return signed.model_copy(update={"statements": (*signed.statements, statement)})


def others(keys, name):
    return [signer for signer in keys if signer != name]


def test_a_signed_agreement_is_in_force(signed, now):
    assert [member.name for member in check(signed, now, "north").members] == list(
        signed.signatures
    )


def test_attack_one_byte_of_the_file_changed_after_signing(tmp_path, signed, now):
    """Every byte, one after the other: comments and spaces too."""
    path = tmp_path / "agreement.toml"
    write_agreement(path, signed.agreement)
    for name, signature in signed.signatures.items():
        write_signature(path, name, signature, signed.digest())
    check(read_signed(path), now)
    text = path.read_bytes()
    for position in range(0, len(text), 7):
        changed = bytearray(text)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(AgreementError):
            check(read_signed(path), now)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "grocer5"},
        {"expires": "2036-01-01T00:00:00Z"},
        {"quorum": 4},
    ],
)
def test_attack_agreement_changed_after_signing(signed, now, change):
    changed = signed.agreement.model_copy(update=change)
    with pytest.raises(AgreementError, match="changed after it was signed"):
        check(signed.model_copy(update={"agreement": changed}), now)


def test_attack_another_plan_after_signing(signed, now):
    tree = to_tree(signed.agreement)
    tree["config"]["privacy"]["delta"] = 0.5
    other = from_tree(tree, "agreement")
    with pytest.raises(AgreementError, match="changed after it was signed"):
        check(signed.model_copy(update={"agreement": other}), now)


def test_attack_signature_of_a_non_member(signed, now, new_key):
    stranger = {**signed.signatures, "stranger": sign(signed.agreement, new_key("stranger"))}
    with pytest.raises(AgreementError, match="stranger signed and is not a member"):
        check(signed.model_copy(update={"signatures": stranger}), now)


def test_attack_stranger_signs_in_a_members_name(signed, now, new_key):
    forged = {**signed.signatures, "south": sign(signed.agreement, new_key("stranger"))}
    with pytest.raises(AgreementError, match="signature of south does not fit"):
        check(signed.model_copy(update={"signatures": forged}), now)


def test_attack_one_member_signs_for_two(signed, now):
    copied = {**signed.signatures, "south": signed.signatures["north"]}
    with pytest.raises(AgreementError, match="signature of south does not fit"):
        check(signed.model_copy(update={"signatures": copied}), now)


def test_attack_quorum_not_met(agreement, keys, now):
    four = {name: key for name, key in keys.items() if name != "west"}
    with pytest.raises(AgreementError, match=r"5 members have to sign .* 4 did; missing: west"):
        check(signed_by(agreement, four), now)


def test_a_member_that_did_not_sign_does_not_start(agreement, keys, now):
    lax = agreement.model_copy(update={"quorum": 4})
    signed = signed_by(lax, {name: key for name, key in keys.items() if name != "west"})
    check(signed, now, "north")
    with pytest.raises(AgreementError, match="west has not signed"):
        check(signed, now, "west")
    with pytest.raises(AgreementError, match="stranger is not a member"):
        check(signed, now, "stranger")


@pytest.mark.parametrize("quorum", [0, 1, 3, 6])
def test_attack_quorum_so_small_that_two_versions_could_be_signed(agreement, quorum):
    with pytest.raises(AgreementError, match="quorum"):
        from_tree({**to_tree(agreement), "quorum": quorum}, "agreement")


def test_attack_expired_agreement(signed, now):
    with pytest.raises(AgreementError, match="expired on"):
        check(signed, now + timedelta(days=30))
    check(signed, now + timedelta(days=30) - timedelta(seconds=1))


def test_agreement_of_the_future_and_clocks_that_differ(signed, now):
    begin = now - timedelta(days=1)
    check(signed, begin - timedelta(minutes=4))
    with pytest.raises(AgreementError, match="begins on"):
        check(signed, begin - timedelta(minutes=6))


def members_with(agreement, **changes):
    tree = to_tree(agreement)
    tree["members"][1].update(changes)
    return tree


def test_attack_duplicate_member_name(agreement):
    with pytest.raises(AgreementError, match="north and north have the same name"):
        from_tree(members_with(agreement, name="north"), "agreement")


def test_attack_sybil_one_key_under_two_names(agreement):
    first = agreement.members[0]
    with pytest.raises(AgreementError, match="north and south have the same identity key"):
        from_tree(members_with(agreement, identity=first.identity), "agreement")
    with pytest.raises(AgreementError, match="north and south have the same broker key"):
        from_tree(members_with(agreement, broker=first.broker), "agreement")


def test_attack_coordinator_that_is_also_a_member(agreement):
    tree = to_tree(agreement)
    tree["coordinator"]["identity"] = agreement.members[2].identity
    with pytest.raises(AgreementError, match="west and hub have the same identity key"):
        from_tree(tree, "agreement")


@pytest.mark.parametrize(
    "name",
    [
        "nоrth",  # Cyrillic o
        "ｎorth",  # full width
        "no\u200brth",  # zero width space
        "north\u202e",  # right-to-left override
        "n\u00f6rth",
        "north ",
        "",
        "../north",
    ],
)
def test_attack_unicode_confusables_in_names(agreement, name):
    with pytest.raises(AgreementError, match="name"):
        from_tree(members_with(agreement, name=name), "agreement")


@pytest.mark.parametrize("name", ["North", "n0rth", "norlh", "NORTH"])
def test_attack_names_that_look_alike(agreement, name):
    tree = members_with(agreement, name=name)
    if name == "norlh":
        tree["members"][0]["name"] = "nor1h"
    with pytest.raises(AgreementError, match="look too much alike"):
        from_tree(tree, "agreement")


def test_attack_member_called_like_the_coordinator_on_the_broker(agreement):
    with pytest.raises(AgreementError, match="no member is called 'coordinator'"):
        from_tree(members_with(agreement, name="Co0rdinator"), "agreement")


LOW_ORDER = [
    bytes(32).hex(),
    (1).to_bytes(32, "little").hex(),
    ((1 << 255) - 20).to_bytes(32, "little").hex(),
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ((1 << 255) - 19).to_bytes(32, "little").hex(),
    ((1 << 255) - 18).to_bytes(32, "little").hex(),
]


@pytest.mark.parametrize("identity", LOW_ORDER)
def test_attack_identity_key_under_which_anybody_signs(agreement, identity):
    with pytest.raises(AgreementError, match="no safe Ed25519 key"):
        from_tree(members_with(agreement, identity=identity), "agreement")


def test_attack_swapped_key_in_the_middle_has_another_fingerprint(new_key):
    """The card is consistent in itself; only the phone call shows it."""
    honest, attacker = (
        key_bundle_of("north", new_key("north")),
        key_bundle_of("north", new_key("mallory")),
    )
    assert attacker.party().name == honest.name
    assert attacker.fingerprint != honest.fingerprint
    assert len(honest.fingerprint.split()) == 6


def test_attack_card_with_the_key_of_somebody_else(new_key):
    """Nobody can enter another's key as his own, and be taken for its holder."""
    victim = key_bundle_of("north", new_key("north"))
    for changed in ({"name": "mallory"}, {"broker": key_bundle_of("m", new_key("m")).broker}):
        with pytest.raises(AgreementError, match="does not fit"):
            KeyBundle(**{**victim.model_dump(), **changed}).party()


def test_rotation_needs_nobody_elses_signature(signed, keys, now, new_key):
    new = new_key("west", 1)
    after = with_statement(signed, rotation(signed, "west", keys["west"], new))
    assert check(after, now, "west").member("west").public == new.public
    assert after.digest() != signed.digest()
    assert [m for m in standing(after).members if m.name != "west"] == [
        m for m in standing(signed).members if m.name != "west"
    ]


def test_attack_rotation_signed_by_somebody_else(signed, keys, new_key):
    thief = rotation(signed, "west", new_key("mallory"), new_key("mallory", 1))
    with pytest.raises(AgreementError, match="signature of west does not fit"):
        standing(with_statement(signed, thief))
    other = rotation(signed, "west", keys["east"], new_key("mallory"))
    other = other.model_copy(update={"signatures": {"east": other.signatures["west"]}})
    with pytest.raises(AgreementError, match="only west itself"):
        standing(with_statement(signed, other))


def test_attack_rotation_to_the_key_of_another_member(signed, keys):
    with pytest.raises(AgreementError, match="is or was a key"):
        standing(with_statement(signed, rotation(signed, "west", keys["west"], keys["east"])))


def test_attack_rotation_replayed_back_to_an_old_key(signed, keys, new_key):
    once = with_statement(signed, rotation(signed, "west", keys["west"], new_key("west", 1)))
    with pytest.raises(AgreementError, match="is or was a key"):
        standing(with_statement(once, rotation(once, "west", new_key("west", 1), keys["west"])))
    with pytest.raises(AgreementError, match="earlier state"):
        standing(with_statement(once, once.statements[0]))


def test_revocation_by_the_others(signed, keys, now):
    gone = with_statement(signed, revocation(signed, "west", keys, others(keys, "west")))
    assert "west" not in [member.name for member in check(gone, now, "north").members]
    with pytest.raises(AgreementError, match="west is not a member"):
        check(gone, now, "west")


@pytest.mark.parametrize(
    "signers", [["north", "south", "east"], ["north", "south", "east", "west"]]
)
def test_attack_revocation_by_too_few(signed, keys, signers):
    with pytest.raises(AgreementError, match="4 other members"):
        standing(with_statement(signed, revocation(signed, "west", keys, signers)))


def test_attack_revoked_key_signs(signed, keys, now, new_key):
    """A lost key signs statements, rotates itself, and signs a version in the member's name."""
    gone = with_statement(signed, revocation(signed, "west", keys, others(keys, "west")))
    for forged in (
        rotation(gone, "west", keys["west"], new_key("mallory")),
        revocation(gone, "east", keys, ["north", "south", "west"]),
    ):
        with pytest.raises(AgreementError, match="west is not a member"):
            standing(with_statement(gone, forged))
    following = amended(gone, created=now)
    with pytest.raises(AgreementError, match="west signed and is not a member"):
        check(signed_by(following, keys), now)


def test_attack_revoked_key_completes_a_quorum(agreement, keys, now, new_key):
    """The member that lost its key has to sign again with the new one."""
    signed = signed_by(agreement, keys)
    card = key_bundle_of("west", new_key("west", 1))
    after = with_statement(signed, revocation(signed, "west", keys, others(keys, "west"), card))
    with pytest.raises(AgreementError, match="missing: west"):
        check(after, now)
    again = {**after.signatures, "west": sign(agreement, new_key("west", 1))}
    check(after.model_copy(update={"signatures": again}), now, "west")


def test_attack_replay_of_a_signature_for_an_older_version(signed, keys, now):
    newer = amended(signed, created=now, quorum=4)
    replayed = SignedAgreement(agreement=newer, signatures=signed.signatures)
    with pytest.raises(AgreementError, match="does not fit"):
        check(replayed, now)


def test_attack_signature_file_of_an_older_version(tmp_path, signed, keys, now):
    newer, path = amended(signed, created=now), tmp_path / "agreement.toml"
    write_agreement(path, newer)
    write_signature(path, "north", signed.signatures["north"], signed.digest())
    with pytest.raises(AgreementError, match="north signed another version"):
        read_signed(path)


def test_attack_older_version_after_a_newer_was_accepted(tmp_path, signed, keys, now):
    """An old agreement is signed by all and not expired; the member remembers the newer one."""
    newer = signed_by(amended(signed, created=now), keys)
    remember(tmp_path, signed)
    remember(tmp_path, newer)
    remember(tmp_path, newer)
    with pytest.raises(AgreementError, match="not newer"):
        remember(tmp_path, signed)


def test_attack_statement_held_back_after_it_was_accepted(tmp_path, signed, keys, now):
    gone = with_statement(signed, revocation(signed, "west", keys, others(keys, "west")))
    remember(tmp_path, signed)
    remember(tmp_path, gone)
    with pytest.raises(AgreementError, match="is missing"):
        remember(tmp_path, signed)


def test_attack_amendment_signed_by_members_of_its_own(signed, keys, now, new_key):
    """Four invented members and one traitor are a quorum of the new version, not of the old."""
    invented = {f"new-{letter}": new_key(letter) for letter in "abcd"}
    forged = amended(
        signed,
        created=now,
        added=tuple(party_of(name, key) for name, key in invented.items()),
        removed=frozenset(others(keys, "west")),
    )
    coup = signed_by(forged, {"west": keys["west"], **invented})
    check(coup, now)
    with pytest.raises(AgreementError, match="5 of the earlier members have to sign"):
        check_version(signed, coup)


def test_attack_amendment_of_another_history(signed, keys, now):
    other = signed_by(signed.agreement.model_copy(update={"name": "bakers"}), keys)
    newer = signed_by(amended(other, created=now), keys)
    with pytest.raises(AgreementError, match="does not follow"):
        check_version(signed, newer)


def test_a_member_that_missed_a_version_goes_on_with_the_next(tmp_path, signed, keys, now):
    second = signed_by(amended(signed, created=now), keys)
    third = signed_by(amended(second, created=now), keys)
    remember(tmp_path, signed)
    remember(tmp_path, third)
    with pytest.raises(AgreementError, match=r"version 2 is not newer .* remove"):
        remember(tmp_path, second)


def test_adding_a_member_gives_nobody_a_new_key(signed, keys, now, new_key):
    newer = amended(signed, created=now, added=(party_of("isle", new_key("isle")),))
    assert newer.members[:5] == signed.agreement.members
    assert newer.quorum == 6
    everybody = {**keys, "isle": new_key("isle")}
    check(signed_by(newer, everybody), now, "isle")
    check_version(signed, signed_by(newer, everybody))


def test_attack_revocation_and_rotation_by_a_thief_at_once(tmp_path, signed, keys, now, new_key):
    """Who holds the stolen key cannot get in before the others declare it void."""
    path = tmp_path / "agreement.toml"
    write_agreement(path, signed.agreement)
    for name, signature in signed.signatures.items():
        write_signature(path, name, signature, signed.digest())
    for entry in (
        rotation(signed, "west", keys["west"], new_key("mallory")),
        revocation(signed, "west", keys, others(keys, "west")),
    ):
        for name, signature in entry.signatures.items():
            digest = apply_key_changes(entry.statement)
            write_signature(path, name, signature, digest, entry.statement)
    found = read_signed(path)
    assert [entry.statement.kind for entry in found.statements] == ["revocation"]
    assert "west" not in [member.name for member in check(found, now).members]


def test_statements_survive_mail_in_any_order(tmp_path, signed, keys, now, new_key):
    path = tmp_path / "agreement.toml"
    write_agreement(path, signed.agreement)
    for name, signature in signed.signatures.items():
        write_signature(path, name, signature, signed.digest())
    current = signed
    for name in ("west", "east", "centre"):
        current = with_statement(current, rotation(current, name, keys[name], new_key(name, 1)))
        entry = current.statements[-1]
        write_signature(
            path, name, entry.signatures[name], apply_key_changes(entry.statement), entry.statement
        )
    assert read_signed(path).digest() == current.digest()
    assert from_json(current.to_json(), "json") == current


def test_an_upgrade_that_adds_a_setting_voids_no_signature(signed, now):
    """What is not in the file is not in the digest: here, a setting that the file leaves out."""
    tree = signed.to_json()
    del tree["agreement"]["config"]["secure"]["attempts"]
    read = from_json(tree, "json")
    assert read.agreement.config.secure.attempts == 2
    assert "attempts" not in agreement_toml(read.agreement)


def test_what_is_a_machines_own_is_not_agreed(agreement, keys, config, now):
    elsewhere = config.model_copy(
        update={"engine": config.engine.model_copy(update={"workers": 7})}
    )
    again = new_agreement(
        "grocers",
        agreement.members,
        elsewhere,
        created=now - timedelta(days=1),
        expires=now + timedelta(days=30),
        coordinator=agreement.coordinator,
    )
    assert sign(again, keys["north"]) == sign(agreement, keys["north"])
    tree = to_tree(agreement)
    tree["config"]["engine"] = {"workers": 7}
    with pytest.raises(AgreementError, match="each member's own affair"):
        from_tree(tree, "agreement")


def test_a_standing_is_bound_to_its_statements(signed, keys, new_key):
    one = with_statement(signed, rotation(signed, "west", keys["west"], new_key("west", 1)))
    two = with_statement(signed, rotation(signed, "west", keys["west"], new_key("west", 2)))
    digests = {standing(entry).digest for entry in (signed, one, two)}
    assert len(digests) == 3
    assert replace(standing(signed), digest=b"") != standing(signed)
