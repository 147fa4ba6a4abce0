"""The earlier model that a run goes on from: where it lies, and whether it is the agreed one."""

from __future__ import annotations

from pathlib import Path

from securefl.config.schema import RunConfig
from securefl.errors import InputError
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.served import manifest as m
from securefl.tasks.served.folder import FOLDER, read_manifest
from securefl.tasks.served.opening import FolderParts, read_parts, start_digest
from securefl.tasks.served.writing import RELEASED

MEMBERS = "members"


def agreed_parts(config: RunConfig) -> FolderParts:
    """Return the model that the members agreed to go on from, from this party's copy of it.

    Raises:
        InputError: If there is no copy, or it is another model.
    """
    if config.warm_start is None:
        raise InputError("the run goes on from an earlier model: say where it is with --from")
    parts = read_parts(shared_folder(Path(config.warm_start)))
    check_agreed(parts, config)
    _check_fits(parts, config)
    return parts


def check_agreed(parts: FolderParts, config: RunConfig) -> None:
    """Refuse another model than the one that the members agreed to go on from.

    Raises:
        InputError: It is another one.
    """
    if start_digest(parts) != agreed_digest(config):
        raise InputError(
            f"{parts.folder} is not the model that the members agreed to go on from (start.model)"
        )


def _check_fits(parts: FolderParts, config: RunConfig) -> None:
    """Refuse a model that a run cannot go on from.

    Raises:
        InputError: If it is of another task or model, or less protected than the result will be.
    """
    about, folder = parts.manifest, parts.folder
    if (about.task, about.model) != (config.task, config.model.name):
        raise InputError(
            f"{folder} is of task '{about.task}' and model '{about.model}', and the run of"
            f" '{config.task}' and '{config.model.name}'"
        )
    now, then = mechanism_for(config.privacy), mechanism_for(parts.config.privacy)
    # What it was trained on is in the result too, and would be in no statement about it.
    seeds = config.privacy.insecure_testing_seed, parts.config.privacy.insecure_testing_seed
    tested = seeds[0] is None and seeds[1] is not None
    if now.private and (tested or not then.private):
        raise InputError(f"{folder} was trained without a budget: no private run goes on from it")
    if now.private and parts.config.privacy.unit != config.privacy.unit:
        raise InputError(
            f"{folder} protects each {parts.config.privacy.unit}, and the run each"
            f" {config.privacy.unit}"
        )


def agreed_digest(config: RunConfig) -> str | None:
    """Return the digest of the agreed earlier model, hex; None where none was agreed."""
    return None if config.start is None else config.start.model


def shared_folder(path: Path) -> Path:
    """Return the folder of the shared model in a path of `--from`.

    Raises:
        InputError: If there is none.
    """
    if not path.is_dir():
        raise InputError(f"{path} is no run and no folder of a model")
    if (path / m.MANIFEST).exists():
        return path
    if not (path / RELEASED / m.MANIFEST).exists():
        raise InputError(f"{path} is no folder of a model, and no run that has ended")
    return path / RELEASED


def own_folder(path: Path, member: str) -> Path | None:
    """Return a member's own folder in a path of `--from`; None where it has none there."""
    if (path / m.MANIFEST).exists():
        about = read_manifest(path)
        return path if about.member == member else None
    folder = path / MEMBERS / member / FOLDER
    return folder if folder.is_dir() else None
