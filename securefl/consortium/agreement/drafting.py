"""Drafting of agreements: the first version, added members, and replacement versions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from securefl.config.data import FilesSettings
from securefl.config.schema import RunConfig
from securefl.consortium.agreement.model import Agreement, Broker, new_agreement
from securefl.consortium.agreement.signatures import SignedAgreement, standing
from securefl.consortium.agreement.storage import (
    read_card,
    read_draft,
    read_signed,
    read_text,
    signature_paths,
    write_agreement,
)
from securefl.consortium.agreement.versions import amended, enlarged
from securefl.consortium.encoding.parsing import parsed
from securefl.consortium.keys.parties import Party
from securefl.errors import AgreementError
from securefl.untrusted.files import taken


def draft(
    path: Path,
    name: str,
    bundles: Sequence[Path],
    config: RunConfig,
    *,
    created: datetime,
    expires: datetime,
    coordinator: Path | None = None,
    meeting: tuple[str, Path] | None = None,
    least_members: Mapping[str, int] | None = None,
) -> Agreement:
    """Write the first version of an agreement to a new file.

    Args:
        path: The file.
        name: Name of the agreement.
        bundles: Files with the members' public key bundles (`NAME.card`), at least one.
        config: What is trained.
        created: Start of validity, with a time zone.
        expires: End of validity, with a time zone.
        coordinator: File with the coordinator's key bundle.
        meeting: URL of the broker, and the file with the certificate of its authority.
        least_members: By task, the fewest members in any round and sum of it.

    Raises:
        AgreementError: If the file exists, a key bundle is invalid, names or keys collide, or the
            configuration allows fewer members than its task needs.
    """
    if not bundles:
        raise AgreementError("an agreement has members: add --card, once for each")
    agreement = new_agreement(
        name,
        _parties(bundles),
        config,
        created=created,
        expires=expires,
        coordinator=_coordinator(coordinator),
        broker=_broker(meeting),
        least_members=least_members,
    )
    check_data(agreement, path, complete=False)
    _write_new(path, agreement)
    return agreement


def add_members(path: Path, bundles: Sequence[Path]) -> Agreement:
    """Add members to an agreement that has no signature yet.

    Raises:
        AgreementError: If it is signed, a key bundle is invalid, or a member is in it already.
    """
    agreement = read_draft(path)
    if signature_paths(path):
        raise AgreementError(
            f"{path} is signed; replace it: securefl agreement amend {path} --add CARD"
        )
    larger = enlarged(agreement, _parties(bundles), str(path))
    check_data(larger, path, complete=False)
    write_agreement(path, larger)
    return larger


def replacement(
    path: Path,
    out: Path | None,
    *,
    created: datetime,
    expires: datetime | None = None,
    added: Sequence[Path] = (),
    removed: frozenset[str] = frozenset(),
    quorum: int | None = None,
    config: RunConfig | None = None,
    coordinator: Path | None = None,
    meeting: tuple[str, Path] | None = None,
) -> Path:
    """Write the version that replaces a signed agreement.

    See `versions.amended` and `draft` for the arguments.

    Returns:
        The path of the new version.

    Raises:
        AgreementError: If the file exists, a key bundle is invalid, nothing changes, or the version
            contradicts itself.
    """
    signed = read_signed(path)
    if not signed.signatures:
        raise AgreementError(f"{path} has no signature yet; edit it, or add members to it")
    _check_removable(signed, removed, path)
    following = amended(
        signed,
        created=created,
        expires=expires,
        added=_parties(added),
        removed=removed,
        quorum=quorum,
        config=config,
        coordinator=_coordinator(coordinator),
        broker=_broker(meeting),
    )
    _check_changed(signed.agreement, following, path)
    target = out or _versioned_path(path, following.number)
    check_data(following, target, complete=True)
    _write_new(target, following)
    return target


def check_data(agreement: Agreement, where: Path, *, complete: bool) -> None:
    """Refuse an agreement whose members are not those of its data: it would be in force, and idle.

    Where members have files of their own, each reads what its entry in `data.members` names, and
    what all learn about can depend on how many entries there are.

    Args:
        agreement: The agreement.
        where: Its file, for the error.
        complete: Whether all members are in it; a draft may lack some that have entries.

    Raises:
        AgreementError: If a member has no entry, or an entry no member.
    """
    data = agreement.config.data
    if not isinstance(data, FilesSettings):
        return
    have = [entry.name for entry in data.members]
    members = [member.name for member in agreement.members]
    for name in members:
        if name not in have:
            raise AgreementError(
                f"{where}: {name} has no entry in [[data.members]], so that no run could read its"
                " files: add one to the configuration, and name it with --config"
            )
    for name in have:
        if complete and name not in members:
            raise AgreementError(
                f"{where}: [[data.members]] has {name}, which is no member: take the entry out of"
                " the configuration and name it with --config, or add its card"
            )


def _check_changed(old: Agreement, new: Agreement, path: Path) -> None:
    """Refuse a version that says what the last one says: all would sign it anew for nothing.

    Raises:
        AgreementError: If they differ in nothing but number, predecessor and time.
    """
    own = ("number", "previous", "created")
    if new.model_copy(update={name: getattr(old, name) for name in own}) == old:
        raise AgreementError(
            f"nothing of {path} would change: name what is to, as --add, --remove, --config or"
            " --days"
        )


def _check_removable(signed: SignedAgreement, removed: frozenset[str], path: Path) -> None:
    """Refuse to remove members without whom the quorum of the old members cannot be reached.

    No member would ever take such a version: `check_version` counts signatures of the old members,
    and a member that is removed has no place in the new one to sign.

    Raises:
        AgreementError: If too few stay.
    """
    members = [member.name for member in standing(signed).members]
    needed = min(signed.agreement.quorum, len(members))
    if removed and len([name for name in members if name not in removed]) < needed:
        first = sorted(removed)[0]
        raise AgreementError(
            f"{needed} of the earlier members have to sign an amendment, and fewer stay: have the"
            f" others declare its key void first: securefl agreement revoke {path} {first}"
        )


def _parties(bundles: Sequence[Path]) -> tuple[Party, ...]:
    return tuple(read_card(path).party() for path in bundles)


def _coordinator(bundle: Path | None) -> Party | None:
    return None if bundle is None else read_card(bundle).party()


def _broker(meeting: tuple[str, Path] | None) -> Broker | None:
    if meeting is None:
        return None
    url, authority = meeting
    return parsed(
        Broker, {"url": url, "authority": read_text(authority)}, f"broker {url} (tls://HOST:PORT)"
    )


def _versioned_path(path: Path, number: int) -> Path:
    """Return the default path of a version: `agreement.toml`, `agreement-2.toml`, ..."""
    stem = re.sub(r"-[0-9]+$", "", path.stem) if number > 2 else path.stem
    return path.with_name(f"{stem}-{number}{path.suffix}")


def _write_new(path: Path, agreement: Agreement) -> None:
    if taken(path):
        raise AgreementError(f"{path} exists; it was not touched")
    write_agreement(path, agreement)
