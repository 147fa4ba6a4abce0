"""Signing of a released model by a party of the agreement, for tools outside of this project."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from securefl.audit.bundle.case import AuditContext, Log
from securefl.audit.bundle.inputs import read_bundle, released_model
from securefl.audit.bundle.model_signature import signature_text, signed_bytes, statement
from securefl.audit.verify import verify
from securefl.consortium.keys.model_keys import model_key
from securefl.errors import InputError
from securefl.ml.tensor_io import refuse_taken, write_folder
from securefl_protocols.primitives.signing import SigningKey


def sign_model(
    path: Path, model: Path, key: SigningKey, out: Path, now: datetime
) -> tuple[Path, Path]:
    """Sign the model that a run ended with, for tools that know nothing of runs.

    Args:
        path: The run's bundle, which is audited first.
        model: The released model's file.
        key: Identity key of a member or of the coordinator.
        out: A new folder for signature and certificate.
        now: Time of signing, with a time zone.

    Returns:
        Paths of the signature, and of the certificate with the identity key.

    Raises:
        InputError: If the audit fails, the run did not end with this model, or the key is no
            party's.
        RunDirectoryError: If the folder exists and is not empty, or cannot be written.
    """
    refuse_taken(out)
    bundle = read_bundle(path)
    file = released_model(model)
    audit = verify(
        bundle,
        source=str(path),
        folder=path.parent,
        model=file.values,
        model_task=file.task,
        model_layout=file.layout,
        now=now,
    )
    given = next(check for check in audit.checks if check.name == "model-given")
    if given.verdict != "pass":
        raise InputError(f"{model}: {given.reason}; nothing was signed")
    if audit.verdict == "fail":
        raise InputError(f"{path} fails its audit; nothing was signed")
    name = _party(AuditContext(Log(bundle), now), key)
    chain, payload = model_key(name, key, now), statement(model.name, file.content)
    certificates = [one.public_bytes(Encoding.DER) for one in (chain.leaf, chain.root)]
    text = signature_text(payload, chain.sign(signed_bytes(payload)), certificates)
    signature, certificate = f"{model.name}.sig", f"{name}.pem"
    root = chain.root.public_bytes(Encoding.PEM)
    write_folder(out, {signature: text.encode(), certificate: root})
    return out / signature, out / certificate


def _party(case: AuditContext, key: SigningKey) -> str:
    """Return the name of a key's owner."""
    found = next((name for name, public in case.parties.items() if public == key.public), None)
    if found is None:
        raise InputError("the key is no member's of the agreement, nor the coordinator's")
    return found
