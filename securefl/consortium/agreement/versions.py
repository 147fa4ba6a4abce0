"""Agreement versions: amendments, and the version that a member has pinned.

Pinning protects against rollback: a coordinator cannot bring a member back to an older agreement.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from securefl.config.schema import RunConfig
from securefl.consortium.agreement.model import (
    Agreement,
    Broker,
    agreed_config,
    agreement_digest,
    from_tree,
    smallest_quorum,
    to_tree,
)
from securefl.consortium.agreement.signatures import (
    SignedAgreement,
    from_json,
    signers_under,
    standing,
)
from securefl.consortium.agreement.storage import read_text, write_public
from securefl.consortium.encoding.jcs import to_timestamp
from securefl.consortium.keys.parties import Party
from securefl.errors import AgreementError
from securefl.untrusted.documents import parse_json


def enlarged(agreement: Agreement, parties: tuple[Party, ...], where: str) -> Agreement:
    """Return a draft with more members; a quorum of all members stays a quorum of all.

    Raises:
        AgreementError: If a name or a key is in use already.
    """
    members = (*agreement.members, *parties)
    return from_tree({**to_tree(agreement), **_roster(members, agreement)}, where)


def amended(
    signed: SignedAgreement,
    *,
    created: datetime,
    expires: datetime | None = None,
    added: tuple[Party, ...] = (),
    removed: frozenset[str] = frozenset(),
    quorum: int | None = None,
    config: RunConfig | None = None,
    coordinator: Party | None = None,
    broker: Broker | None = None,
) -> Agreement:
    """Return the agreement that replaces a signed one; it changes no member's key.

    Args:
        signed: The agreement that is replaced; keys changed by statements are taken over.
        created: Start of validity, with a time zone.
        expires: End of validity; unchanged if not given.
        added: Members to add.
        removed: Names of members to remove.
        quorum: Number of required signatures; unchanged if not given, or all if it was all.
        config: What to train; unchanged if not given.
        coordinator: The party that relays and sums; unchanged if not given.
        broker: The message broker; unchanged if not given.

    Raises:
        AgreementError: If the new version is inconsistent.
    """
    now, old = standing(signed), signed.agreement
    unknown = sorted(removed - {member.name for member in now.members})
    if unknown:
        raise AgreementError(f"{unknown[0]} is not a member")
    members = (*(m for m in now.members if m.name not in removed), *added)
    tree: dict[str, Any] = {
        **to_tree(old),
        **_roster(members, old),
        "number": old.number + 1,
        "previous": now.digest.hex(),
        "created": to_timestamp(created),
        **({} if expires is None else {"expires": to_timestamp(expires)}),
        **({} if quorum is None else {"quorum": quorum}),
        **({} if config is None else {"config": agreed_config(config)}),
        **({} if coordinator is None else {"coordinator": coordinator.model_dump()}),
        **({} if broker is None else {"broker": broker.model_dump()}),
    }
    return from_tree(tree, f"version {old.number + 1}")


def _roster(members: tuple[Party, ...], old: Agreement) -> dict[str, Any]:
    unanimous = old.quorum == len(old.members)
    least = max(smallest_quorum(len(members)), min(old.quorum, len(members)))
    return {
        "members": [member.model_dump() for member in members],
        "quorum": len(members) if unanimous else least,
    }


def check_version(old: SignedAgreement, new: SignedAgreement) -> None:
    """Verify that an agreement succeeds another: a quorum of the old members signed it.

    Without this check, the author of an amendment could add members under his control until they
    form a quorum of the new version. Versions in between may be missing, since the signatures of
    the old members on the new version are sufficient.

    Raises:
        AgreementError: If it is not newer, does not follow on the old one, or lacks signatures.
    """
    before = standing(old)
    if new.agreement.number <= old.agreement.number:
        raise AgreementError(
            f"version {new.agreement.number} is not newer than the accepted version"
            f" {old.agreement.number}"
        )
    # Only the direct successor names the old state; a later one names a version in between.
    next_one = new.agreement.number == old.agreement.number + 1
    if next_one and new.agreement.previous != before.digest.hex():
        raise AgreementError(
            f"version {new.agreement.number} does not follow on the accepted version"
            f" {old.agreement.number}"
        )
    # Counted under the keys of the old agreement: keys in the new one are what is to be proven.
    needed = min(old.agreement.quorum, len(before.members))
    signers = signers_under(new, {m.name: (m.public,) for m in before.members})
    if len(signers) < needed:
        raise AgreementError(
            f"{needed} of the earlier members have to sign an amendment, {len(signers)} did"
        )


def remember(folder: Path, signed: SignedAgreement) -> None:
    """Pin the agreement that a member starts under, so that it never starts under an older one.

    An older version carries all signatures and may not have expired. The same holds for a copy
    without the statement that revoked a key. Only a party that has seen the newer state can refuse
    them, so the member records it (rollback protection).

    Args:
        folder: The member's own folder; it holds one file for each name of an agreement.
        signed: An agreement that was verified to be in force.

    Raises:
        AgreementError: If it does not succeed the pinned agreement.
    """
    path = folder / f"accepted-{signed.agreement.name}.json"
    if path.exists():
        before = from_json(_json(path), str(path))
        try:
            if not _continues(before, signed):
                check_version(before, signed)
        except AgreementError as error:
            raise AgreementError(
                f"{error}; if you know better, from a call to the others, remove {path}"
            ) from None
    write_public(path, json.dumps(signed.to_json(), indent=2) + "\n")


def _continues(before: SignedAgreement, signed: SignedAgreement) -> bool:
    """Return whether it is the same agreement, with the pinned statements and possibly more."""
    if agreement_digest(before.agreement) != agreement_digest(signed.agreement):
        return False
    count = len(before.statements)
    prefix = signed.model_copy(update={"statements": signed.statements[:count]})
    if prefix.digest() != before.digest():
        raise AgreementError("a statement about a key, accepted before, is missing")
    return True


def _json(path: Path) -> Any:  # noqa: ANN401 - JSON of any type
    return parse_json(read_text(path), str(path), error=AgreementError)
