"""Bundles for other verifiers: honest ones, and `bad_*` with what has to be noticed.

python -m support.bundle_vectors write     after a change of a format that is meant
"""

import copy
import hashlib
import itertools
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace

from reference.basics import unpack
from securefl.audit.bundle.bundle import bundle_schema
from securefl.consortium.ledger.events import Outcome, Release, Start
from securefl.federation.aggregation.session_parameters import session_params
from securefl.ml.vectors import layout_digest
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.wire.signed_statements import statement
from securefl_protocols.wire.transcript import Transcript
from support.bundle_edits import missed
from support.bundle_mutations import (
    CHEAT,
    FALSE,
    break_consistency,
    change_agreement,
    change_sigma,
    forge_countersignature,
    forge_root,
    gap,
    move_inclusion,
    remove_release,
    reorder,
    replay_signature,
    swap_member,
    truncate,
    unknown_field,
)
from support.bundle_scenario import DIMENSION, STEP, honest, scored
from support.paths import ROOT, page

FOLDER = ROOT / "tests" / "vectors" / "bundles"
SCHEMA = page("bundle.schema.json")
LAYOUT = layout_digest([("item", (2, 2)), ("bias", (2,))]).hex()
"""Names and shapes of a model of as many coordinates as those of the bundles."""
OTHERS = ("retailer-0", "retailer-2")
"""The members of the plain vectors but for the cheating one."""
ALL_UNITS = STEP.model_copy(update={"sampling_rate": 1.0})


@dataclass(frozen=True)
class Vector:
    """One file.

    Attributes:
        name: Name of the file.
        core: Check of docs/reference/bundle.md that fails first; None for an honest bundle.
        audit: Check of `securefl audit verify` that fails; None for an honest bundle.
        text: Content.
    """

    name: str
    core: str | None
    audit: str | None
    text: str


@contextmanager
def _known_random():
    """Salts, keys of sessions and pseudonyms that are the same every time."""
    kept, counter = os.urandom, itertools.count()

    def drawn(size):
        blocks = -(-size // 32)
        return b"".join(
            hashlib.sha256(f"bundle vectors {next(counter)}".encode()).digest()
            for _ in range(blocks)
        )[:size]

    os.urandom = drawn
    try:
        yield
    finally:
        os.urandom = kept


OUTSIDE = {
    "bad_entry_changed": ("entries", "entry-signatures", change_sigma),
    "bad_entry_of_another": ("entries", "entry-signatures", swap_member),
    "bad_entry_signature_replayed": ("entries", "entry-signatures", replay_signature),
    "bad_entry_removed": ("chain", "entry-chain", remove_release),
    "bad_entries_reordered": ("log", "log-inclusion", reorder),
    "bad_entries_cut": ("log", "log-inclusion", truncate),
    "bad_root": ("log", "log-inclusion", forge_root),
    "bad_consistency": ("consistency", "log-consistency", break_consistency),
    "bad_inclusion": ("inclusion", "log-inclusion", move_inclusion),
    "bad_head_signature": ("heads", "heads-countersigned", forge_countersignature),
    "bad_agreement_changed": ("agreement", "agreement-signed", change_agreement),
    "bad_field_unknown": ("form", "schema", unknown_field),
    "bad_sequence": ("entries", "entry-signatures", gap),
    "bad_model_handed_out": (
        "models",
        "model-chain",
        lambda tree: tree["claims"].update(model=FALSE),
    ),
    "bad_agreement_without_quorum": (
        "agreement",
        "agreement-signed",
        lambda tree: tree["agreement"]["signatures"].pop(CHEAT),
    ),
}
"""What an outsider edits: name, check of the core, check of the audit."""
INSIDE = {
    "bad_epsilon_too_low": (
        *("epsilon", "epsilon-recomputed"),
        lambda run: run.edited(CHEAT, Release, {"epsilon_after": 0.4}, 2),
    ),
    "bad_outcomes_differ": (
        *("outcomes", "outcomes-equal"),
        lambda run: run.edited(CHEAT, Outcome, {"model_after": FALSE}, 2),
    ),
    "bad_outcome_not_seen": (
        *("outcomes", "outcomes-seen"),
        lambda run: run.edited(None, Outcome, {"survivors": OTHERS}, 2),
    ),
    "bad_start_model": (
        *("models", "model-chain"),
        lambda run: run.edited(CHEAT, Start, {"start_model": FALSE}),
    ),
    "bad_layouts_differ": (
        *("models", "model-chain"),
        lambda run: run.edited(None, Outcome, {"layout": LAYOUT}).edited(
            None, Outcome, {"layout": FALSE}, 2
        ),
    ),
    "bad_model_began_elsewhere": (
        *("models", "model-chain"),
        lambda run: run.edited(None, Release, {"model_before": FALSE}, 2),
    ),
    "bad_key_of_no_member": (
        *("entries", "entry-signatures"),
        lambda run: replace(run, keys=run.keys | {CHEAT: SigningKey(bytes([99] * 32))}),
    ),
}
"""What a member writes and signs."""


def _seed(run):
    """The same pseudonyms whatever drew them."""
    for place, name in enumerate(run.keys):
        run = run.edited(name, Start, {"data_set": f"{place:02x}" * 32})
    return run


def vectors():
    """Yield every vector, and the files beside them as bytes by name."""
    files = {}
    with _known_random():
        run = _seed(honest(rounds=2, members=3, masked=False, step=ALL_UNITS))
        masked = _seed(honest(rounds=1))
        adaptive = _seed(honest(2, private=False, server={"optimizer": "fedadam"}))
    tree = run.seal().to_json()
    yield Vector("honest.json", None, None, _text(tree)), files
    for name, (core, audit, edit) in OUTSIDE.items():
        changed = copy.deepcopy(tree)
        edit(changed)
        yield Vector(f"{name}.json", core, audit, _text(changed)), files
    for name, (core, audit, change) in INSIDE.items():
        yield Vector(f"{name}.json", core, audit, _text(change(run).seal().to_json())), files
    twice = _text(tree).replace('"format":', '"format": "securefl-audit/1", "format":', 1)
    yield Vector("bad_name_twice.json", "form", "schema", twice), files
    named = run.edited(None, Outcome, {"layout": LAYOUT})
    yield Vector("honest_layout.json", None, None, _text(named.seal().to_json())), files
    unseen = _text(missed(run, OTHERS).seal().to_json())
    yield Vector("honest_unseen.json", None, None, unseen), files
    yield from _scored(run, files)
    yield from _masked(masked, files)
    yield from _replayed(masked, adaptive, files)


def _scored(run, files):
    for name, core, audit, who, fields in (
        ("honest_scored", None, None, None, {}),
        ("bad_scores_too_cheap", "epsilon", "epsilon-recomputed", CHEAT, {"epsilon_after": 0.5}),
        ("bad_scored_model", "models", "scores-agreed", CHEAT, {"model": FALSE}),
    ):
        tree = scored(run, who, **fields).seal().to_json()
        yield Vector(f"{name}.json", core, audit, _text(tree)), files


def _masked(run, files):
    tree = run.seal().to_json()
    name = tree["transcripts"][0]["file"]
    files |= {name: run.transcripts[1], "files/start.f32": run.start}
    yield Vector("honest_masked.json", None, None, _text(tree)), files
    changed = copy.deepcopy(tree)
    changed["transcripts"][0]["file"] = "files/changed.transcript"
    files["files/changed.transcript"] = run.transcripts[1][:-1] + bytes(
        [run.transcripts[1][-1] ^ 1]
    )
    yield Vector("bad_transcript.json", "transcripts", "transcripts-signed", _text(changed)), files
    listed = copy.deepcopy(tree)
    listed["transcripts"] = listed["transcripts"] * 400
    yield Vector("bad_transcript_400_times.json", "form", "schema", _text(listed)), files


def _replayed(run, adaptive, files):
    """What only a replay of the sums sees: all members sign it, and all digests fit."""
    yield _beside("honest_adaptive", None, adaptive, files), files
    yield _beside("bad_masked_input", "sums", _with_other_input(run), files), files
    anew = _with_other_input(run, anew=True)
    yield _beside("bad_masked_input_signed", "sums", anew, files), files
    update = {"model_after": FALSE}
    forged = replace(run.edited(None, Outcome, update), model=FALSE)
    yield _beside("bad_model_not_of_sum", "models-from-sums", forged, files), files


def _beside(name, core, run, files):
    """A vector that has its transcripts under its own name; all start from one model."""
    assert files["files/start.f32"] == run.start
    tree = run.seal().to_json()
    for file in tree["transcripts"]:
        file["file"] = f"files/{name}_{file['round']}.transcript"
        files[file["file"]] = run.transcripts[file["round"]]
    audit = {"sums": "sums-replayed"}.get(core, core)
    return Vector(f"{name}.json", core, audit, _text(tree))


def _with_other_input(run, *, anew=False):
    """The same run with one bit of a masked input changed, and its transcript's digest signed.

    Args:
        run: A run of one masked round.
        anew: Whether the cheating member signs the changed input as well. What the survivors
            signed then still names the first one.
    """
    transcript, place = Transcript.from_bytes(run.transcripts[1]), list(run.keys).index(CHEAT)
    messages = [dict(step) for step in transcript.messages]
    message = messages[2][place]
    message = message[:-1] + bytes([message[-1] ^ 1])
    if anew:
        terms = session_params(run.consortium, tuple(run.keys), DIMENSION)
        opened = unpack(b"AdvertiseKeys", messages[0][place][70:])
        context, body = terms.context.of_round(*transcript.round), message[70:]
        said = statement(context, place, opened["encryption"], hashlib.sha256(body).digest())
        signature = run.keys[CHEAT].sign(b"securefl/2/MaskedInput", said)
        message = message[:6] + signature + body
    messages[2][place] = message
    changed = replace(transcript, messages=tuple(messages))
    digest = changed.digest().hex()
    signed = run.edited(None, Outcome, {"transcript": digest})
    return replace(signed, transcripts={1: changed.to_bytes()}, digests={1: digest})


def _text(tree):
    return json.dumps(tree, indent=None, separators=(",", ":"), sort_keys=True) + "\n"


def contents():
    """Every file of the folder, by name, as bytes."""
    found, index = {}, []
    for vector, files in vectors():
        found |= files | {vector.name: vector.text.encode()}
        index.append({"file": vector.name, "core": vector.core, "audit": vector.audit})
    found["index.json"] = (json.dumps(index, indent=1) + "\n").encode()
    return found


def schema_text():
    """The JSON schema of bundles."""
    return json.dumps(bundle_schema(), indent=1) + "\n"


def write():
    """Replace all files."""
    for name, content in contents().items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    SCHEMA.write_text(schema_text())


if __name__ == "__main__" and sys.argv[1:] == ["write"]:
    write()
