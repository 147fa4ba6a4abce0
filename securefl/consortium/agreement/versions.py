"""From one agreement to the next: amendments, and what a member remembers to have accepted."""

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


def enlarged(agreement: Agreement, parties: tuple[Party, ...], where: str) -> Agreement:
    """A draft with more members; a quorum of all stays one of all.

    Raises:
        AgreementError: If a name or a key is there already.
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
    """The agreement that replaces a signed one; nobody gets a new key by it.

    Args:
        signed: What is replaced. Keys that statements changed since are those that count now.
        created: From when the new one is valid.
        expires: Until when; as before if not given.
        added: Members to add.
        removed: Members to leave out.
        quorum: How many have to sign; as before if not given, or all if it was all.
        config: What to train; as before if not given.
        coordinator: Who relays and sums; as before if not given.
        broker: Where they meet; as before if not given.

    Raises:
        AgreementError: If it contradicts itself.
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
    everybody = old.quorum == len(old.members)
    least = max(smallest_quorum(len(members)), min(old.quorum, len(members)))
    return {
        "members": [member.model_dump() for member in members],
        "quorum": len(members) if everybody else least,
    }


def check_version(old: SignedAgreement, new: SignedAgreement) -> None:
    """Whether an agreement follows on another: the quorum of the old members signed it.

    Without that, whoever writes an amendment could bring members of his own, enough to sign it.
    Versions in between may be missing: the signatures of the old members say all there is to say.

    Raises:
        AgreementError: If it does not.
    """
    before = standing(old)
    if new.agreement.number <= old.agreement.number:
        raise AgreementError(
            f"version {new.agreement.number} is not newer than the accepted version"
            f" {old.agreement.number}"
        )
    next_one = new.agreement.number == old.agreement.number + 1
    if next_one and new.agreement.previous != before.digest.hex():
        raise AgreementError(
            f"version {new.agreement.number} does not follow on the accepted version"
            f" {old.agreement.number}"
        )
    needed = min(old.agreement.quorum, len(before.members))
    signers = signers_under(new, {m.name: (m.public,) for m in before.members})
    if len(signers) < needed:
        raise AgreementError(
            f"{needed} of the earlier members have to sign an amendment, {len(signers)} did"
        )


def remember(folder: Path, signed: SignedAgreement) -> None:
    """Note that a member starts under an agreement, so that it never starts under an older one.

    An older version is signed by all, and perhaps not expired. So is one without the statement that
    declared a key void. Only who has seen the newer one can refuse them.

    Args:
        folder: The member's own folder; one file in it for each name of an agreement.
        signed: What `admit` found in force.

    Raises:
        AgreementError: If it does not follow on what the member last started under.
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
    """Whether it is the same agreement, with the same statements and perhaps more."""
    if agreement_digest(before.agreement) != agreement_digest(signed.agreement):
        return False
    count = len(before.statements)
    prefix = signed.model_copy(update={"statements": signed.statements[:count]})
    if prefix.digest() != before.digest():
        raise AgreementError("a statement about a key, accepted before, is missing")
    return True


def _json(path: Path) -> Any:  # noqa: ANN401 - whatever is in the file
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError):
        raise AgreementError(f"{path} is no valid JSON") from None
