"""An agreement with the signatures under it: who is a member now, and whether it is in force."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from securefl.config.base import Settings
from securefl.consortium.agreement.key_changes import (
    STATEMENT_LABEL,
    Revocation,
    Rotation,
    SignedStatement,
    apply_key_changes,
    statement_bytes,
)
from securefl.consortium.agreement.model import (
    AGREEMENT_LABEL,
    Agreement,
    agreement_bytes,
    agreement_digest,
    to_tree,
)
from securefl.consortium.encoding.jcs import Hex64, from_timestamp
from securefl.consortium.encoding.parsing import parsed
from securefl.consortium.keys.parties import Party
from securefl.errors import AgreementError
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.signing import SigningKey, verify
from securefl_protocols.wire.roster import Roster

SKEW = timedelta(minutes=5)
"""How far the clocks of two members may be apart."""


@dataclass(frozen=True)
class AgreementStatus:
    """What an agreement and the statements after it come to.

    Attributes:
        digest: 32 bytes; sessions, ledgers and amendments are bound to it.
        members: Who is a member, with the keys that count now, in roster order.
        signers: By name, the public keys whose signature under the agreement counts.
        used: Every key that is or was somebody's, as it is written.
    """

    digest: bytes
    members: tuple[Party, ...]
    signers: dict[str, tuple[bytes, ...]]
    used: frozenset[str]

    def member(self, name: str) -> Party:
        """A member by name.

        Raises:
            AgreementError: If nobody has it, or the key was revoked.
        """
        for party in self.members:
            if party.name == name:
                return party
        raise AgreementError(f"{name} is not a member")


class SignedAgreement(Settings):
    """An agreement, signatures by name of the signer, and the statements that came later.

    Nothing is verified by making one; `standing` and `check` do that.
    """

    agreement: Agreement
    signatures: dict[str, Hex64] = Field(default_factory=dict)
    statements: tuple[SignedStatement, ...] = ()

    def digest(self) -> bytes:
        """32 bytes that stand for the agreement with all statements.

        Raises:
            AgreementError: As in `standing`.
        """
        return standing(self).digest

    def roster(self) -> Roster:
        """The members with the keys that count now.

        Raises:
            AgreementError: As in `standing`.
        """
        members = standing(self).members
        return Roster(tuple(m.name for m in members), tuple(m.public for m in members))

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads; digests stay what they are."""
        return {
            "agreement": to_tree(self.agreement),
            "signatures": dict(self.signatures),
            "statements": [
                statement.model_dump(mode="json", exclude_none=True)
                for statement in self.statements
            ],
        }


def from_json(tree: Mapping[str, Any], where: str) -> SignedAgreement:
    """What `SignedAgreement.to_json` wrote.

    Args:
        tree: The JSON object.
        where: The file that it is from, to begin an error with.

    Raises:
        AgreementError: If it is something else.
    """
    return parsed(SignedAgreement, tree, where)


def sign(agreement: Agreement, key: SigningKey) -> str:
    """A member's signature under an agreement, hex."""
    return key.sign(AGREEMENT_LABEL, agreement_bytes(agreement)).hex()


def signed_by(agreement: Agreement, keys: Mapping[str, SigningKey]) -> SignedAgreement:
    """An agreement signed by several members, by name."""
    signatures = {name: sign(agreement, key) for name, key in keys.items()}
    return SignedAgreement(agreement=agreement, signatures=signatures)


def standing(signed: SignedAgreement) -> AgreementStatus:
    """Follow the statements, each checked against what was true before it.

    Raises:
        AgreementError: If a statement does not follow, or is not signed by whom it has to be.
    """
    agreement = signed.agreement
    now = AgreementStatus(
        agreement_digest(agreement),
        agreement.members,
        {member.name: (member.public,) for member in agreement.members},
        _keys([*agreement.members, *([agreement.coordinator] if agreement.coordinator else [])]),
    )
    for number, statement in enumerate(signed.statements, 1):
        try:
            now = _after(now, statement, agreement)
        except AgreementError as error:
            raise AgreementError(f"statement {number}: {error}") from None
    return now


def _after(now: AgreementStatus, signed: SignedStatement, agreement: Agreement) -> AgreementStatus:
    statement = signed.statement
    if statement.previous != now.digest.hex():
        raise AgreementError("belongs to another agreement, or to an earlier state of this one")
    old = now.member(statement.member)
    content = statement_bytes(statement)
    for name, signature in signed.signatures.items():
        if not _fits(now.member(name).public, signature, STATEMENT_LABEL, content):
            raise AgreementError(f"the signature of {name} does not fit")
    signers = set(signed.signatures)
    if isinstance(statement, Rotation):
        if signers != {old.name}:
            raise AgreementError(f"only {old.name} itself changes its key")
        kept = now.signers[old.name]
    else:
        _check_revocation(statement, old, signers, statement_quorum(agreement, len(now.members)))
        kept = ()
    new = statement.card.party() if statement.card else None
    if new is not None:
        _check_new(now, old, new)
    return _replaced(now, old, new, kept, apply_key_changes(statement))


def _check_revocation(statement: Revocation, old: Party, signers: set[str], needed: int) -> None:
    if statement.identity != old.identity:
        raise AgreementError(f"{old.name} has another key than the revoked one")
    if len(signers - {old.name}) < needed:
        raise AgreementError(f"{needed} other members have to sign that a key is void")


def _check_new(now: AgreementStatus, old: Party, new: Party) -> None:
    if new.name != old.name:
        raise AgreementError(f"the card is of {new.name} and not of {old.name}")
    if {new.identity, new.broker} & now.used:
        raise AgreementError(f"the new key of {new.name} is or was a key of this agreement")


def _replaced(
    now: AgreementStatus, old: Party, new: Party | None, kept: tuple[bytes, ...], digest: bytes
) -> AgreementStatus:
    """The members with one of them under another key, or gone."""
    replaced = (new if member is old else member for member in now.members)
    added = () if new is None else (new,)
    return AgreementStatus(
        digest=digest,
        members=tuple(member for member in replaced if member is not None),
        signers={**now.signers, old.name: (*kept, *(party.public for party in added))},
        used=now.used | _keys(added),
    )


def _keys(parties: Iterable[Party]) -> frozenset[str]:
    return frozenset(key for party in parties for key in (party.identity, party.broker))


def statement_quorum(agreement: Agreement, members: int) -> int:
    """How many others have to sign that a key is void: the quorum, or all others if that is less.

    The member itself cannot be needed: its key may be lost.
    """
    return min(agreement.quorum, members - 1)


def check(signed: SignedAgreement, at: datetime, member: str | None = None) -> AgreementStatus:
    """Whether an agreement is in force.

    Args:
        signed: The agreement with signatures and statements.
        at: The time, with a time zone.
        member: Who asks; it has to be a member, and to have signed itself.

    Returns:
        The members and the digest that counts.

    Raises:
        AgreementError: If the agreement is not in force; the text names what is wrong.
    """
    _check_time(signed.agreement, at)
    now = standing(signed)
    if member is not None:
        now.member(member)
    missing = missing_signatures(signed, now)
    needed = min(signed.agreement.quorum, len(now.members))
    if len(now.members) - len(missing) < needed:
        raise AgreementError(
            f"{needed} members have to sign the agreement, {len(now.members) - len(missing)} did;"
            f" missing: {', '.join(missing)}"
        )
    if member in missing:
        raise AgreementError(f"{member} has not signed the agreement itself")
    least = signed.agreement.config.cohort.minimum
    if len(now.members) < least:
        raise AgreementError(f"{len(now.members)} members are left, and a round needs {least}")
    return now


def missing_signatures(signed: SignedAgreement, now: AgreementStatus) -> list[str]:
    """The members that have not signed yet, in roster order.

    Raises:
        AgreementError: If a signature does not fit, or its signer is no member.
    """
    first = {member.name: (member.public,) for member in signed.agreement.members}
    for name in signed.signatures.keys() - first.keys():
        raise AgreementError(f"{name} signed and is not a member")
    counting = signers_under(signed, now.signers)
    # What a key that is void now has signed does not count, and is no sign of a forgery.
    for name in signed.signatures.keys() - counting - signers_under(signed, first):
        raise AgreementError(
            f"the signature of {name} does not fit:"
            " the agreement was changed after it was signed, or somebody else signed"
        )
    return [member.name for member in now.members if member.name not in counting]


def signers_under(signed: SignedAgreement, keys: Mapping[str, tuple[bytes, ...]]) -> set[str]:
    """Whose signature under the agreement fits one of the keys given for that name."""
    content = agreement_bytes(signed.agreement)
    return {
        name
        for name, signature in signed.signatures.items()
        if any(_fits(key, signature, AGREEMENT_LABEL, content) for key in keys.get(name, ()))
    }


def _check_time(agreement: Agreement, at: datetime) -> None:
    if at >= from_timestamp(agreement.expires):
        raise AgreementError(f"the agreement expired on {agreement.expires}; amend it")
    if at < from_timestamp(agreement.created) - SKEW:
        raise AgreementError(
            f"the agreement begins on {agreement.created}, and the clock says it is earlier"
        )


def _fits(public: bytes, signature: str, label: bytes, content: bytes) -> bool:
    try:
        verify(public, bytes.fromhex(signature), label, content)
    except RemoteProtocolError:
        return False
    return True
