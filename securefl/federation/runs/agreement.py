"""Keys and agreement of a run on one machine, created once and kept in its directory."""

from __future__ import annotations

import json
import os

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.agreement.model import agreed_config, to_tree
from securefl.consortium.agreement.signatures import SignedAgreement, from_json
from securefl.consortium.keys.key_files import generate_key, read_key, write_clear_key
from securefl.errors import AgreementError, InputError, RunDirectoryError
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import Prepared
from securefl.federation.runs.simulation import local_agreement
from securefl.ml.tensor_io import write_atomically
from securefl.untrusted.documents import read_json
from securefl.untrusted.files import SMALL
from securefl_protocols.primitives.signing import SigningKey

AGREEMENT = "agreement.json"
RUN = "run.json"
KEY = "identity.pem"


def resident_consortium(
    prepared: Prepared, directory: RunDirectory
) -> tuple[Consortium, dict[str, bytes]]:
    """Return the consortium of a run directory; created and written where there is none yet.

    A resumed run has the same keys, the same agreement and the same run id, so that its ledger is
    one ledger.

    Returns:
        The consortium, and each member's private identity key.

    Raises:
        RunDirectoryError: If a file is damaged, or belongs to other members or settings.
    """
    names = [member.name for member in prepared.members]
    keys = {name: _key(directory, name) for name in names}
    path = directory.path / AGREEMENT
    if not path.exists():
        agreement = local_agreement("local run", prepared.config, keys)
        keep_agreement(directory, agreement, os.urandom(32))
    signed, run = read_agreement(directory), read_run(directory)
    roster = signed.roster()
    same_keys = dict(zip(roster.names, roster.identities, strict=True)) == {
        name: key.public for name, key in keys.items()
    }
    # The directory may have been edited meanwhile: another agreement must not be used unnoticed.
    if not same_keys or to_tree(signed.agreement)["config"] != agreed_config(prepared.config):
        raise RunDirectoryError(f"{path} is of other members or settings than this run's")
    return Consortium(signed, run), {name: key.private_bytes() for name, key in keys.items()}


def read_agreement(directory: RunDirectory) -> SignedAgreement:
    """Return the signed agreement of a run.

    Raises:
        RunDirectoryError: If there is none, or it is damaged.
    """
    path = directory.path / AGREEMENT
    try:
        return from_json(read_json(path, SMALL, error=RunDirectoryError), str(path))
    except AgreementError as error:
        raise RunDirectoryError(f"{path} is damaged: {error}") from None


def read_run(directory: RunDirectory) -> bytes:
    """Return the id of a run, 32 bytes.

    Raises:
        RunDirectoryError: If there is none, or it is damaged.
    """
    path = directory.path / RUN
    try:
        return bytes.fromhex(read_json(path, SMALL)["run"])
    except (InputError, ValueError, KeyError, TypeError):
        raise RunDirectoryError(f"{path} is missing or damaged: no name of a run") from None


def _key(directory: RunDirectory, name: str) -> SigningKey:
    path = directory.member_path(name) / KEY
    if not path.exists():
        write_clear_key(path, generate_key())
    return read_key(path)


def keep_agreement(directory: RunDirectory, signed: SignedAgreement, run: bytes) -> None:
    """Write a run's agreement and id into its directory, where auditors expect them.

    Raises:
        RunDirectoryError: If they cannot be written.
    """
    # The agreement comes last: where it exists, the run's id does as well.
    write_atomically(directory.path / RUN, json.dumps({"run": run.hex()}).encode())
    text = json.dumps(signed.to_json(), indent=2, ensure_ascii=False) + "\n"
    write_atomically(directory.path / AGREEMENT, text.encode())
