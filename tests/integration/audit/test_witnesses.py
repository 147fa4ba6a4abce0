"""Heads for foreign eyes: C2SP notes that others wrote, and a witness that is not ours."""

import base64
import hashlib
import json
import secrets

import pytest

from securefl.audit.bundle.bundle import to_text
from securefl.audit.bundle.witnesses import requests, witnessed
from securefl.consortium.keys.key_files import write_clear_key
from securefl.consortium.ledger.checkpoint import (
    COSIGNATURE,
    ED25519,
    Checkpoint,
    Note,
    NoteError,
    Verifier,
    cosigned_note,
    origin_of,
    read_checkpoint,
    read_note,
    signed_note,
)
from securefl_cli.verifier import main as verifier
from securefl_protocols.primitives.signing import SigningKey
from support.bundle_edits import HONEST
from support.bundle_scenario import honest

HUB, WITNESS = SigningKey(bytes([41] * 32)), SigningKey(bytes([42] * 32))
WITNESS_KEY = Verifier("witness.example", COSIGNATURE, WITNESS.public)
# The example of the documentation of golang.org/x/mod/sumdb/note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""  # noqa: E501 - a signature has no line breaks


@pytest.fixture(scope="module")
def bundle():
    return honest(rounds=3, masked=False).seal()


@pytest.fixture(scope="module")
def note(bundle):
    """The last head, signed and cosigned."""
    *_, (signed, _) = requests(bundle, HUB)
    return cosigned_note(signed, "witness.example", WITNESS, 1_790_000_000)


def test_a_note_of_another_program_is_verified():
    """Names, key ids and signatures are those of the specification."""
    note = read_note(GO_NOTE)
    assert note.signature(Verifier.from_text(GO_KEY)) == 0
    assert note.to_text() == GO_NOTE
    assert Verifier.from_text(GO_KEY).to_text() == GO_KEY
    changed = read_note(GO_NOTE.replace("answer", "Answer"))
    with pytest.raises(NoteError, match="PeterNeumann does not fit"):
        changed.signature(Verifier.from_text(GO_KEY))


def test_only_origin_size_and_root_leave(bundle):
    """No name of a party, no run id, and no time of the consortium."""
    kept = json.dumps(bundle.to_json())
    for note, request in requests(bundle, HUB):
        assert note.text.count("\n") == 3
        origin, size, root = note.text.splitlines()
        assert origin == origin_of(bundle.run)
        assert len(base64.b64decode(root)) == 32
        assert size.isdigit()
        assert bundle.run not in request
        assert HONEST not in request
        assert origin not in kept
        lines = request.split("\n\n")[0].splitlines()
        assert lines[0].startswith("old ")


def test_each_head_is_a_checkpoint_after_the_one_before(bundle):
    """Heads of equal size are one."""
    sizes = [read_checkpoint(note).size for note, _ in requests(bundle, HUB)]
    olds = [
        int(request.split("\n")[0].removeprefix("old ")) for _, request in requests(bundle, HUB)
    ]
    assert olds == [0, *sizes[:-1]]
    assert sizes == sorted({linked.head.head.size for linked in bundle.heads})


def test_a_cosigned_head_is_recognised(bundle, note):
    """With the time of the witness; one that did not sign is named as such."""
    other = Verifier("other.example", COSIGNATURE, HUB.public)
    found = witnessed(bundle, note, [WITNESS_KEY, other])
    assert found.last
    assert [one.time for one in found.cosignatures] == [1_790_000_000, None]
    log = Verifier(origin_of(bundle.run), ED25519, HUB.public)
    assert note.signature(log) == 0


def test_a_wrong_cosignature_is_refused(bundle, note):
    """A changed time, a changed root, the key of another."""
    name, data = note.lines[-1]
    later = data[:4] + (1_790_000_001).to_bytes(8, "big") + data[12:]
    with pytest.raises(NoteError, match="does not fit"):
        witnessed(bundle, Note(note.text, (*note.lines[:-1], (name, later))), [WITNESS_KEY])
    other = Checkpoint(origin_of(bundle.run), 3, hashlib.sha256(b"x").digest())
    forged = cosigned_note(signed_note(other, HUB), name, WITNESS, 1)
    with pytest.raises(NoteError, match="another log"):
        witnessed(bundle, forged, [WITNESS_KEY])
    below = bundle.model_copy(update={"entries": bundle.entries[::-1]})
    with pytest.raises(NoteError, match="another log"):
        witnessed(below, note, [WITNESS_KEY])
    with pytest.raises(NoteError, match="id of another"):
        Verifier.from_text(WITNESS_KEY.to_text().replace("witness", "Witness"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a\n\n",
        "a\n1\nAA==\n\n",
        "a\n\n\u2014 x !!!!\n",
        "a\n\n\u2014 x AAAA\nmore\n",
        "\n\n\n",
    ],
)
def test_what_is_no_note_is_refused(text):
    """One error, whatever is wrong."""
    with pytest.raises(NoteError):
        read_note(text)


@pytest.mark.parametrize("text", ["", "a", "a+b", "a+00000000+AQ==", "a b+00000000+AQ=="])
def test_what_is_no_key_is_refused(text):
    """As notes."""
    with pytest.raises(NoteError):
        Verifier.from_text(text)


def test_checkpoints_are_written_and_checked_by_command(here, cli, bundle, capsys):
    """From the bundle to the answer of a witness and back."""
    (here / "bundle.json").write_text(to_text(bundle))
    write_clear_key(here / "hub.key", HUB)
    made = cli("audit", "checkpoint", "bundle.json", "--key", "hub.key", "--out", "w")
    assert made.code == 0, made
    assert origin_of(bundle.run) in made.out
    last = sorted((here / "w").glob("*.note"))[-1]
    assert cli("audit", "checkpoint", "bundle.json", "--key", "hub.key", "--out", "w").code == 2
    words = (
        "audit",
        "witnessed",
        "bundle.json",
        "--note",
        last,
        "--witness",
        WITNESS_KEY.to_text(),
    )
    assert cli(*words).code == 3
    signed = cosigned_note(read_note(last.read_text()), "witness.example", WITNESS, 1_790_000_000)
    last.write_text(signed.to_text())
    found = cli(*words)
    assert (found.code, "2026-09-21T14:13:20Z witness.example" in found.out) == (0, True), found
    assert verifier([str(word) for word in words[1:]]) == 0
    assert capsys.readouterr().out == found.out
    first = min((here / "w").glob("*.note"))
    signed = cosigned_note(read_note(first.read_text()), "witness.example", WITNESS, 1_790_000_000)
    first.write_text(signed.to_text())
    found = cli(*words[:4], first, *words[5:])
    assert (found.code, "the beginning of the log" in found.out) == (3, True), found


def test_a_witness_that_is_not_ours_cosigns_every_head(bundle, tmp_path):
    """aics-witness, which is asked for each head in turn; a split view it refuses."""
    pytest.importorskip("aics_tlog", reason="aics-witness needs Python 3.12 and is not installed")
    service = pytest.importorskip("aics_witness.service", reason="aics-witness is not installed")
    from aics_witness.config import LogConfig
    from aics_witness.store import WitnessStore
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    origin = origin_of(bundle.run)
    log = LogConfig.from_strings(origin, [Verifier(origin, ED25519, HUB.public).to_text()])
    private = Ed25519PrivateKey.from_private_bytes(secrets.token_bytes(32))
    with WitnessStore(tmp_path / "witness.sqlite", create=True) as store:
        foreign = service.Witness("foreign.example", private, store, [log])
        key = Verifier.from_text(foreign.vkey_text)
        for note, request in requests(bundle, HUB):
            answer = foreign.add_checkpoint(request.encode()).decode()
            found = witnessed(bundle, note.joined(answer), [key])
            assert found.cosignatures[0].time > 1_700_000_000
        assert found.last
        changed = honest(rounds=3, masked=False).seal()  # other pseudonyms: another log of this run
        *_, (_, split) = requests(changed, HUB)
        with pytest.raises(service.WitnessError):
            foreign.add_checkpoint(split.encode())
