"""Five companies on one screen: keys, an agreement, and everything that goes wrong with either."""

import json
import shutil
import subprocess
import sys

import pytest

PASSPHRASE = "four words are better"
NAMES = ("north", "south", "west", "east", "centre")


@pytest.fixture(scope="session")
def office(tmp_path_factory):
    """A folder with keys and cards of five members and a coordinator; the slow part, once."""
    from pathlib import Path

    from securefl.consortium.agreement.storage import write_card
    from securefl.consortium.keys.key_files import generate_key, write_clear_key
    from securefl.consortium.keys.parties import key_bundle_of

    folder = tmp_path_factory.mktemp("office")
    for name in (*NAMES, "hub", "isle"):
        key = generate_key()
        write_clear_key(folder / f"{name}.key", key)
        write_card(folder / f"{name}.card", key_bundle_of(name, key))
    Path(folder / "run.toml").write_text('[data]\nsource = "tutorial"\n')
    return folder


@pytest.fixture
def desk(office, here, monkeypatch):
    """A copy of the office, in which the test works."""
    monkeypatch.setenv("SECUREFL_PASSPHRASE", PASSPHRASE)
    shutil.copytree(office, here, dirs_exist_ok=True)
    return here


@pytest.fixture
def drafted(desk, cli):
    cards = [word for name in NAMES for word in ("--card", f"{name}.card")]
    outcome = cli("agreement", "new", "agreement.toml", "--config", "run.toml", *cards)
    assert outcome.code == 0, outcome
    return desk


@pytest.fixture
def signed(drafted, cli):
    for name in NAMES:
        outcome = cli("agreement", "sign", "agreement.toml", "--key", f"{name}.key")
        assert outcome.code == 0, outcome
    return drafted


def test_from_cards_to_an_agreement_in_force(signed, cli):
    outcome = cli("agreement", "verify", "agreement.toml", "--member", "north")
    assert outcome.code == 0
    assert "In force    yes" in outcome.out
    shown = cli("agreement", "show", "agreement.toml", "--format", "json").json
    assert shown["in_force"] is True
    assert [member["signed"] for member in shown["members"]] == [True] * 5


def test_every_command_prints_the_next_step(desk, cli, monkeypatch):
    made = cli("keygen", "outpost")
    assert "Next" in made.out
    assert "phone" in made.out
    (desk / "passphrase").write_text(PASSPHRASE)
    (desk / "passphrase").chmod(0o600)
    monkeypatch.delenv("SECUREFL_PASSPHRASE")
    for arguments in (
        ("new", "a.toml", "--config", "run.toml", "--card", "north.card"),
        ("add", "a.toml", "outpost.card"),
        ("show", "a.toml"),
        ("sign", "a.toml", "--key", "north.key"),
        ("sign", "a.toml", "--key", "outpost.key", "--passphrase-file", "passphrase"),
        ("amend", "a.toml", "--add", "south.card", "--add", "west.card"),
    ):
        outcome = cli("agreement", *arguments)
        assert outcome.code == 0, outcome
        assert "\nNext        securefl agreement " in outcome.out, outcome.out


def test_keygen_writes_a_key_for_its_owner_alone_and_shows_no_secret(desk, cli):
    outcome = cli("keygen", "outpost", "--out", "keys")
    assert (desk / "keys" / "outpost.key").stat().st_mode & 0o777 == 0o600
    assert PASSPHRASE not in outcome.out
    assert "ENCRYPTED" in (desk / "keys" / "outpost.key").read_text()
    assert cli("keygen", "outpost", "--out", "keys").refused("never overwritten")


def test_a_passphrase_that_nobody_can_type_is_asked_for_in_vain(desk, cli, monkeypatch):
    monkeypatch.delenv("SECUREFL_PASSPHRASE")
    assert cli("keygen", "outpost").refused("--passphrase-file", "SECUREFL_PASSPHRASE")
    monkeypatch.setenv("SECUREFL_PASSPHRASE", "short")
    assert cli("keygen", "outpost").refused("at least 12")
    assert not (desk / "outpost.key").exists()


def test_attack_key_readable_by_others(drafted, cli):
    (drafted / "north.key").chmod(0o644)
    outcome = cli("agreement", "sign", "agreement.toml", "--key", "north.key")
    assert outcome.refused("north.key", "chmod 600")


def test_attack_wrong_passphrase(drafted, cli, monkeypatch):
    assert cli("keygen", "outpost").code == 0
    monkeypatch.setenv("SECUREFL_PASSPHRASE", "another passphrase")
    outcome = cli("agreement", "sign", "agreement.toml", "--key", "outpost.key")
    assert outcome.refused("wrong passphrase")
    assert "another" not in outcome.err


def test_attack_agreement_changed_after_signing(signed, cli):
    path = signed / "agreement.toml"
    path.write_text(path.read_text().replace("rounds = 10", "rounds = 99"))
    assert cli("agreement", "verify", "agreement.toml").refused("changed after it was signed")


def test_attack_comment_added_after_signing(signed, cli):
    path = signed / "agreement.toml"
    path.write_text(path.read_text() + "# epsilon is at most 1\n")
    assert cli("agreement", "verify", "agreement.toml").refused("edited by hand")


def test_attack_swapped_card_in_the_mail(desk, cli):
    """The card of whoever sits in between, with north's name: only the fingerprint differs."""
    honest = (desk / "north.card").read_text()
    assert cli("keygen", "north", "--out", "mallory").code == 0
    forged = (desk / "mallory" / "north.card").read_text()
    assert honest.splitlines()[0] != forged.splitlines()[0]
    mixed = honest.replace(
        next(line for line in honest.splitlines() if line.startswith("identity")),
        next(line for line in forged.splitlines() if line.startswith("identity")),
    )
    (desk / "mixed.card").write_text(mixed)
    outcome = cli("agreement", "new", "a.toml", "--config", "run.toml", "--card", "mixed.card")
    assert outcome.refused("card of north was changed")


def test_an_agreement_that_too_few_signed_is_not_in_force(drafted, cli):
    cli("agreement", "sign", "agreement.toml", "--key", "north.key")
    outcome = cli("agreement", "verify", "agreement.toml")
    assert outcome.refused("5 members have to sign", "missing: south, west, east, centre")


def test_the_key_of_nobody_signs_nothing(drafted, cli):
    outcome = cli("agreement", "sign", "agreement.toml", "--key", "isle.key")
    assert outcome.refused("the key is no member's")


def test_a_signed_agreement_is_not_enlarged_but_amended(signed, cli):
    assert cli("agreement", "add", "agreement.toml", "isle.card").refused("agreement amend")
    outcome = cli("agreement", "amend", "agreement.toml", "--add", "isle.card")
    assert "Wrote agreement-2.toml" in outcome.out
    for name in (*NAMES, "isle"):
        assert cli("agreement", "sign", "agreement-2.toml", "--key", f"{name}.key").code == 0
    assert cli("agreement", "verify", "agreement-2.toml", "--member", "isle").code == 0
    assert cli("agreement", "verify", "agreement.toml").code == 0
    again = cli("agreement", "amend", "agreement.toml", "--add", "isle.card")
    assert again.refused("agreement-2.toml exists")


def test_an_amendment_that_changes_nothing_is_refused(signed, cli):
    """Everybody would sign it anew for nothing; what is named as it was is no change."""
    for named in ((), ("--quorum", "5"), ("--config", "run.toml")):
        assert cli("agreement", "amend", "agreement.toml", *named).refused("nothing of agreement")
    assert not (signed / "agreement-2.toml").exists()


def test_rotation_of_a_key_needs_nobody_else(signed, cli):
    assert cli("keygen", "west", "--out", "new").code == 0
    outcome = cli(
        "agreement", "rotate", "agreement.toml", "--key", "west.key", "--new", "new/west.key"
    )
    assert "1 of 1 signatures" in outcome.out
    assert "In force    yes" in outcome.out
    assert cli("agreement", "verify", "agreement.toml", "--member", "west").code == 0
    again = cli(
        "agreement", "rotate", "agreement.toml", "--key", "west.key", "--new", "new/west.key"
    )
    assert again.refused("the key is no member's")


def test_revocation_waits_for_the_others_and_a_new_card_keeps_the_member(signed, cli):
    assert cli("keygen", "west", "--out", "new").code == 0
    for count, name in enumerate(("north", "south", "east", "centre"), 1):
        outcome = cli(
            *("agreement", "revoke", "agreement.toml", "west"),
            *("--key", f"{name}.key", "--card", "new/west.card"),
        )
        assert f"{count} of 4 signatures" in outcome.out
    assert "missing: west" in outcome.out
    assert cli("agreement", "sign", "agreement.toml", "--key", "west.key").refused("no member's")
    cli("agreement", "sign", "agreement.toml", "--key", "new/west.key")
    assert cli("agreement", "verify", "agreement.toml", "--member", "west").code == 0


def test_one_alone_revokes_nobody(signed, cli):
    outcome = cli("agreement", "revoke", "agreement.toml", "west", "--key", "north.key")
    assert "Waiting" in outcome.out
    assert cli("agreement", "verify", "agreement.toml", "--member", "west").code == 0
    assert cli("agreement", "revoke", "agreement.toml", "north", "--key", "north.key").refused(
        "agreement rotate"
    )


def test_a_policy_that_forbids_what_was_agreed(signed, cli):
    (signed / "policy.toml").write_text(
        'version = 1\ndata_set = "sales"\ndp = ["local"]\n'
        "[cap.customer]\nepsilon = 4.0\ndelta = 1e-5\n"
    )
    arguments = ("agreement", "verify", "agreement.toml", "--policy", "policy.toml")
    assert cli(*arguments).refused("against the policy")
    (signed / "policy.toml").write_text('version = 1\ndata_set = "sales"\ndp = ["none"]\n')
    assert cli(*arguments).code == 0


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("agreement.toml", "", "field required"),
        ("agreement.toml", "members = [", "no valid TOML"),
        ("agreement.toml", "\x00", "no valid TOML"),
        ("agreement.toml", "surprise = 1\n", "field required"),
        ("agreement.north.sig", "{", "no valid JSON"),
        ("agreement.north.sig", "[]", "agreement.north.sig"),
        ("agreement.north.sig", "{}", "field required"),
        ("agreement.north.sig", "[" * 100_000, "no valid JSON"),
        ("agreement.north.sig", '{"format": "securefl-signature/2"}', "format"),
    ],
)
def test_malformed_files_are_one_line(signed, cli, file, content, words):
    (signed / file).write_text(content)
    assert cli("agreement", "verify", "agreement.toml").refused(file, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("version = 1", "version = 2"), "version"),
        (("quorum = 5", "quorum = 2"), "4 to 5 have to sign"),
        (("rounds = 10", 'rounds = "ten"'), "rounds"),
        (("rounds = 10", "rounds = 10\nround = 1"), "unknown key 'config.round'"),
        (("seed = 0\nrounds", "seed = 9007199254740993\nrounds"), "cannot be signed"),
        (('expires = "', 'expires = "x'), "2026-01-31T09:00:00Z"),
        (("[config.data]", "[config.engine]\nworkers = 1\n[config.data]"), "own affair"),
    ],
)
def test_wrong_values_in_a_draft_are_one_line(drafted, cli, change, words):
    path = drafted / "agreement.toml"
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change, 1))
    outcome = cli("agreement", "sign", "agreement.toml", "--key", "north.key")
    assert outcome.refused(words)


def test_a_draft_edited_by_hand_is_signed_as_it_reads(drafted, cli):
    path = drafted / "agreement.toml"
    path.write_text("# mine\n" + path.read_text().replace("rounds = 10", "rounds = 11"))
    assert cli("agreement", "sign", "agreement.toml", "--key", "north.key").code == 0
    assert "# mine" not in path.read_text()
    assert "rounds = 11" in path.read_text()


def test_files_are_never_overwritten(drafted, cli):
    arguments = ("agreement", "new", "agreement.toml", "--config", "run.toml")
    assert cli(*arguments, "--card", "north.card").refused("exists")
    assert cli("agreement", "new", "b.toml", "--config", "run.toml").refused("--card")


def test_broker_configuration_of_an_agreement_on_one_machine(signed, cli):
    outcome = cli("agreement", "broker-config", "agreement.toml", "--tls", ".")
    assert outcome.refused("names no coordinator")


def test_the_coordinator_and_the_broker_are_changed_by_an_amendment(signed, cli):
    assert cli("agreement", "ca", "tls", "--host", "127.0.0.1").code == 0
    meeting = ("--broker", "tls://127.0.0.1:4222", "--ca", "tls/ca.pem")
    outcome = cli("agreement", "amend", "agreement.toml", "--coordinator", "hub.card", *meeting)
    assert "Coordinator hub" in outcome.out
    assert "tls://127.0.0.1:4222" in outcome.out
    for url in ("nats://127.0.0.1:4222", "tls://127.0.0.1:0", "tls://127.0.0.1", "tls://a b:1"):
        arguments = ("--coordinator", "hub.card", "--broker", url, "--ca", "tls/ca.pem")
        wrong = cli("agreement", "amend", "agreement.toml", "--out", "b.toml", *arguments)
        assert wrong.refused("url")
    arguments = ("--broker", "tls://127.0.0.1:1", "--ca", "run.toml")
    wrong = cli("agreement", "amend", "agreement.toml", "--out", "b.toml", *arguments)
    assert wrong.refused("broker")


def test_nothing_slow_is_imported_to_look_at_an_agreement(signed):
    code = (
        "import sys; from securefl_cli.main import main;"
        "main(['agreement', 'show', 'agreement.toml']);"
        "main(['agreement', 'sign', 'agreement.toml', '--key', 'north.key']);"
        "assert not {'torch', 'pandas', 'nats'} & sys.modules.keys(), 'slow'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_exact_counts_are_said_before_a_signature(desk, cli, monkeypatch):
    """Where an agreement is shown, and before the member's key is unlocked."""
    (desk / "run.toml").write_text('[model.parts.matrix.model]\nname = "ease"\n')
    cards = [word for name in NAMES for word in ("--card", f"{name}.card")]
    cli("agreement", "new", "agreement.toml", "--config", "run.toml", *cards)
    warning = "Warning     The shared item-to-item matrix tells every member"
    assert warning in cli("agreement", "show", "agreement.toml").out
    as_json = json.loads(cli("agreement", "show", "agreement.toml", "--format", "json").out)
    assert "a 1 is one customer" in as_json["discloses"][0]
    (desk / "north.key").write_text("no key")
    refused = cli("agreement", "sign", "agreement.toml", "--key", "north.key")
    assert refused.code == 2
    assert warning in refused.out


def test_an_agreement_without_exact_counts_has_no_warning(drafted, cli):
    assert "Warning" not in cli("agreement", "show", "agreement.toml").out
