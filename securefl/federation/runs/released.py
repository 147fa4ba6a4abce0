"""The released shared model in a folder that may be given away, with its members' signatures.

A member signs at the end of each round which model it ended with (`Outcome`). The entries of the
round that the released model is the result of are put beside it, so that who has the agreement can
check whose model it is, without a bundle and without the run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from securefl.config.cohort import cohort_size, least_survivors
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.agreement.model import agreement_fingerprint
from securefl.consortium.agreement.signatures import SignedAgreement, as_it_stood, standing
from securefl.consortium.ledger.events import Outcome, SignedEntry
from securefl.consortium.ledger.hash_chain import LedgerError, verify
from securefl.consortium.ledger.transparency_log import open_log
from securefl.errors import InputError
from securefl.federation.member.model_signatures import names_model, write_signatures
from securefl.federation.runs.agreement import read_agreement, read_run
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.loop import Trained
from securefl.federation.runs.prepare import Prepared
from securefl.ml.parameters import flat
from securefl.ml.tensor_io import unpacked_tensors
from securefl.ml.vectors import layout_digest, model_digest
from securefl.privacy.statement import protection
from securefl.tasks.served.folder import read_file, read_manifest
from securefl.tasks.served.manifest import SHARED, SIGNATURES
from securefl.tasks.served.opening import released_tensors
from securefl.tasks.served.writing import RELEASED, Provenance, TakenAlong, write_released_model
from securefl.untrusted.documents import read_json
from securefl.untrusted.files import MEBIBYTE

_LARGEST: Final = 16 * MEBIBYTE


def write_released(directory: RunDirectory, prepared: Prepared, trained: Trained) -> None:
    """Write the released model of a run that has ended, and its signatures.

    Raises:
        RunDirectoryError: If it cannot be written.
    """
    signed, run = read_agreement(directory), read_run(directory)
    provenance = Provenance(
        members=trained.members,
        agreement=agreement_fingerprint(signed.agreement),
        run=run,
        protection=protection(trained.privacy, prepared.config.mode),
    )
    shared, folder = trained.state.best_shared, directory.path / RELEASED
    earlier = prepared.earlier
    write_released_model(
        folder,
        prepared.config,
        prepared.facts,
        shared,
        vocabulary=prepared.vocabulary,
        provenance=provenance,
        along=None if earlier is None else TakenAlong(earlier.keeps()),
    )
    with closing(open_log(directory.ledger_path, Consortium(signed, run))) as log:
        write_signatures(folder, log.entries(), model_digest(shared))


def released_signers(folder: Path, agreement: SignedAgreement) -> tuple[str, ...]:
    """Return the members that signed a released model as the one that a round ended with.

    It signed the values, and names and shapes of the tensors that they fill, in a key that counts:
    one that it has, or had until it changed it itself.

    Args:
        folder: The folder of a released model.
        agreement: The agreement, from a source that is trusted.

    Raises:
        InputError: If the folder is damaged, or of another agreement.
        AgreementError: If the agreement's keys are not valid.
    """
    manifest = read_manifest(folder)
    if manifest.kind != "released":
        raise InputError(f"{folder} is no released model")
    if manifest.agreement != agreement_fingerprint(agreement.agreement):
        raise InputError(f"{folder} is of another agreement")
    where = str(folder / SHARED)
    content = read_file(folder, manifest, SHARED)
    tensors = released_tensors(unpacked_tensors(content, where), content, where)
    if model_digest(flat(tensors.values())).hex() != manifest.digest:
        raise InputError(f"{where} is not the model of the manifest")
    layout = layout_digest((name, tuple(tensors[name].shape)) for name in tensors).hex()
    entries = [
        one
        for one in _entries(read_json(folder / SIGNATURES, _LARGEST), folder)
        if one.entry.run == manifest.run and as_it_stood(agreement, one.entry.agreement)
    ]
    ends = [one for one in entries if names_model(one, manifest.digest) and _fills(one, layout)]
    keys = standing(agreement).signers
    return tuple(
        name
        for name in agreement.agreement.names
        if any(_by(one, name, keys[name]) for one in ends)
    )


def signers_needed(agreement: SignedAgreement) -> int:
    """Return how many members have to sign a released model, as how each round ended.

    Whoever handed it out says who took part. A model that one member signs may be that member's.
    """
    config, members = agreement.agreement.config, len(agreement.agreement.members)
    asked = cohort_size(config.cohort, members)
    return least_survivors(config.cohort, asked) if config.mode == "secure" else asked // 2 + 1


def _entries(tree: Any, folder: Path) -> list[SignedEntry]:  # noqa: ANN401 - JSON
    try:
        return [SignedEntry.model_validate_json(json.dumps(one)) for one in tree]
    except (ValidationError, TypeError):
        raise InputError(f"{folder / SIGNATURES} is damaged: no signed entries") from None


def _fills(signed: SignedEntry, layout: str) -> bool:
    event = signed.entry.event
    return isinstance(event, Outcome) and event.layout == layout


def _by(signed: SignedEntry, name: str, keys: Sequence[bytes]) -> bool:
    """Return whether an entry is of a member, signed with one of its keys."""
    return signed.entry.member == name and any(_fits(signed, key) for key in keys)


def _fits(signed: SignedEntry, key: bytes) -> bool:
    try:
        verify(signed, key)
    except LedgerError:
        return False
    return True
