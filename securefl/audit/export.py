"""Export of a run directory as an audit bundle, with proofs that the log is complete."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from securefl.audit.bundle.bundle import (
    Bundle,
    Claims,
    Inclusion,
    LinkedHead,
    Opening,
    TranscriptFile,
    to_text,
)
from securefl.audit.verify import Audit, verify
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.events import Outcome, SignedEntry
from securefl.consortium.ledger.hash_chain import read_entry, timestamp
from securefl.consortium.ledger.merkle import Proof
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.consortium.ledger.transcripts import transcript_path
from securefl.consortium.ledger.transparency_log import Log, open_log
from securefl.errors import InputError, RunDirectoryError
from securefl.federation.runs.agreement import read_agreement, read_run
from securefl.federation.runs.directory import RunDirectory
from securefl.ml.tensor_io import read_tensors, read_whole, write_atomically
from securefl.ml.vectors import model_digest
from securefl.untrusted.files import replaceable, taken


def export(run: Path, out: Path, *, open_units: bool = False) -> Bundle:
    """Write a run's bundle, with its transcripts in a folder next to it.

    Args:
        run: The run's directory.
        out: The bundle's file; an earlier bundle of the run is replaced, and nothing else.
        open_units: Open the members' commitments to their numbers of units, from their ledgers.

    Raises:
        RunDirectoryError: If the directory holds no ledger, or a file cannot be written.
        InputError: If something else than its bundle lies where it is to be written.
    """
    replaceable(out, b'"format": "securefl-audit/')
    local = bundle_of(run, open_units=open_units)
    replaceable(out, f'"run": "{local.run}"'.encode(), "the bundle of another run")
    files = out.parent / f"files-{local.run[:16]}"
    if taken(files) and (files.is_symlink() or not files.is_dir()):
        raise InputError(f"{files} exists and is no folder; nothing was written")
    start = local.claims.start_model
    bundle = local.model_copy(
        update={
            "transcripts": tuple(
                file.model_copy(update={"file": _copied(run / file.file, files)})
                for file in local.transcripts
            ),
            "claims": local.claims.model_copy(
                update={"start_model": None if start is None else _copied(run / start, files)}
            ),
        }
    )
    write_atomically(out, to_text(bundle).encode())
    return bundle


def audit_run(run: Path) -> Audit:
    """Audit a run in its directory, without exporting a bundle.

    Raises:
        RunDirectoryError: If the directory holds no ledger.
    """
    return verify(bundle_of(run), source=str(run), folder=run)


def bundle_of(run: Path, *, open_units: bool = False) -> Bundle:
    """Return a run's bundle, whose file names refer to the run's directory.

    Args:
        run: The run's directory.
        open_units: Open the members' commitments to their numbers of units, from their ledgers.

    Raises:
        RunDirectoryError: If the directory holds no ledger.
    """
    directory = RunDirectory.open(run)
    if not directory.ledger_path.exists():
        raise RunDirectoryError(f"{run} has no ledger: {directory.ledger_path.name} is missing")
    consortium = Consortium(read_agreement(directory), read_run(directory))
    with closing(open_log(directory.ledger_path, consortium, reading=True)) as log:
        entries = tuple(read_entry(data) for data in log.entries())
        return Bundle(
            format="securefl-audit/1",
            created=timestamp(),
            run=log.run,
            agreement=consortium.signed,
            entries=entries,
            heads=_heads(log),
            inclusion=_inclusions(log, consortium.roster.names),
            transcripts=_transcripts(directory, entries),
            openings=_openings(run, log, consortium.roster.names) if open_units else (),
            claims=_claims(directory),
        )


def _heads(log: Log) -> tuple[LinkedHead, ...]:
    # Size 0 has the empty proof: the first head continues nothing.
    linked, old = [], 0
    for head in log.heads():
        size = head.head.size
        proof = log.tree.consistency_proof(old, size)
        linked.append(LinkedHead(head=head, consistency=_hex(proof)))
        old = size
    return tuple(linked)


def _inclusions(log: Log, names: tuple[str, ...]) -> tuple[Inclusion, ...]:
    heads = log.heads()
    size = heads[-1].head.size if heads else 0
    lasts = {name: log.places(name)[-1] for name in names if log.count(name)}
    return tuple(
        Inclusion(member=name, index=place, proof=_hex(log.tree.inclusion_proof(place, size)))
        for name, place in lasts.items()
        if place < size
    )


def _hex(proof: Proof) -> tuple[str, ...]:
    return tuple(node.hex() for node in proof)


def _transcripts(
    directory: RunDirectory, entries: tuple[SignedEntry, ...]
) -> tuple[TranscriptFile, ...]:
    """Return the archived transcripts among those that members signed."""
    events = (signed.entry.event for signed in entries)
    signed = {
        event.round: event.transcript
        for event in events
        if isinstance(event, Outcome) and event.transcript is not None
    }
    paths = {number: transcript_path(directory.transcripts, number) for number in sorted(signed)}
    return tuple(
        TranscriptFile(round=number, digest=signed[number], file=_relative(directory, path))
        for number, path in paths.items()
        if path.exists()
    )


def _relative(directory: RunDirectory, path: Path) -> str:
    return path.relative_to(directory.path).as_posix()


def _copied(source: Path, folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Whole and in the place of what is there: a link must not lead the copy elsewhere.
        write_atomically(folder / source.name, read_whole(source))
    except OSError as error:
        raise RunDirectoryError(f"cannot write {folder}: {error.strerror}") from None
    return f"{folder.name}/{source.name}"


def _openings(run: Path, log: Log, names: tuple[str, ...]) -> tuple[Opening, ...]:
    folder, opened = LedgerPaths.read(run).books, []
    for name in names:
        path = book_path(folder, name)
        if not path.exists():
            continue  # the member's file is elsewhere
        with closing(PrivacyLedger(path, reading=True)) as ledger:
            row = ledger.run(log.run)
        if row is not None:
            opened.append(Opening(member=name, units=row.units, salt=row.salt.hex()))
    return tuple(opened)


def _claims(directory: RunDirectory) -> Claims:
    start, result, model = directory.start_path, directory.path / "checkpoint.safetensors", None
    if result.exists():
        tensors, _ = read_tensors(result)
        model = model_digest(tensors["best"].numpy()).hex()
    if not start.exists():
        return Claims(model=model, dimension=0, start_model=None)
    dimension = start.stat().st_size // 4  # float32
    return Claims(model=model, dimension=dimension, start_model=_relative(directory, start))
