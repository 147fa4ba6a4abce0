"""Writing agreements: a first one, more members, and the version that replaces a signed one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from securefl.config.schema import RunConfig
from securefl.consortium.agreement.model import Agreement, Broker, new_agreement
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


def draft(
    path: Path,
    name: str,
    cards: Sequence[Path],
    config: RunConfig,
    *,
    created: datetime,
    expires: datetime,
    coordinator: Path | None = None,
    meeting: tuple[str, Path] | None = None,
) -> Agreement:
    """Write a first agreement to a new file.

    Args:
        path: The file.
        name: What the agreement is called.
        cards: Files with the members' cards, at least one.
        config: What is trained.
        created: From when it is valid, with a time zone.
        expires: Until when.
        coordinator: The coordinator's card.
        meeting: URL of the broker, and the file with its authority's certificate.

    Raises:
        AgreementError: If the file exists, a card is wrong, or the members do not fit together.
    """
    if not cards:
        raise AgreementError("an agreement has members: add --card, once for each")
    agreement = new_agreement(
        name,
        _parties(cards),
        config,
        created=created,
        expires=expires,
        coordinator=_coordinator(coordinator),
        broker=_broker(meeting),
    )
    _write_new(path, agreement)
    return agreement


def add_members(path: Path, cards: Sequence[Path]) -> Agreement:
    """Add members to an agreement that nobody has signed yet.

    Raises:
        AgreementError: If somebody has, a card is wrong, or a member is there already.
    """
    agreement = read_draft(path)
    if signature_paths(path):
        raise AgreementError(
            f"{path} is signed; replace it: securefl agreement amend {path} --add CARD"
        )
    larger = enlarged(agreement, _parties(cards), str(path))
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
    """Write the version that replaces a signed agreement; see `succession.amended` and `draft`.

    Returns:
        Where it was written.

    Raises:
        AgreementError: If the file exists, a card is wrong, or the version contradicts itself.
    """
    signed = read_signed(path)
    if not signed.signatures:
        raise AgreementError(f"{path} is not signed by anybody; edit it, or add members to it")
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
    place = out or _beside(path, following.number)
    _write_new(place, following)
    return place


def _parties(cards: Sequence[Path]) -> tuple[Party, ...]:
    return tuple(read_card(card).party() for card in cards)


def _coordinator(card: Path | None) -> Party | None:
    return None if card is None else read_card(card).party()


def _broker(meeting: tuple[str, Path] | None) -> Broker | None:
    if meeting is None:
        return None
    url, authority = meeting
    return parsed(Broker, {"url": url, "authority": read_text(authority)}, f"broker {url}")


def _beside(path: Path, number: int) -> Path:
    """`agreement.toml` is followed by `agreement-2.toml`, and that by `agreement-3.toml`."""
    stem = re.sub(r"-[0-9]+$", "", path.stem) if number > 2 else path.stem
    return path.with_name(f"{stem}-{number}{path.suffix}")


def _write_new(path: Path, agreement: Agreement) -> None:
    if path.exists():
        raise AgreementError(f"{path} exists; it was not touched")
    write_agreement(path, agreement)
