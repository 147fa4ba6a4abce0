"""Signed agreements: current members, valid signatures, and whether the agreement is in force."""

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
"""Accepted difference between the clocks of two members."""


@dataclass(frozen=True)
class AgreementStatus:
    """State of an agreement after all key changes.

    Attributes:
        digest: 32 bytes; sessions, ledgers and amendments are bound to it.
        members: Current members with their current keys, in roster order.
        signers: By name, the public keys whose signature under the agreement is accepted.
        used: Every key, hex or base32, that is or was in use; none may be introduced again.
    """

    digest: bytes
    members: tuple[Party, ...]
    signers: dict[str, tuple[bytes, ...]]
    used: frozenset[str]

    def member(self, name: str) -> Party:
        """Return a member by name.

        Raises:
            AgreementError: If there is no such member, or its key was revoked.
        """
        for party in self.members:
            if party.name == name:
                return party
        raise AgreementError(f"{name} is not a member")


class SignedAgreement(Settings):
    """An agreement, its signatures by name of the signer, and the later key-change statements.

    The constructor verifies nothing; `standing` and `check` do.
    """

    agreement: Agreement
    signatures: dict[str, Hex64] = Field(default_factory=dict)
    statements: tuple[SignedStatement, ...] = ()

    def digest(self) -> bytes:
        """Return the 32-byte digest of the agreement with all statements.

        Raises:
            AgreementError: As in `standing`.
        """
        return standing(self).digest

    def roster(self) -> Roster:
        """Return the members with their current keys.

        Raises:
            AgreementError: As in `standing`.
        """
        members = standing(self).members
        return Roster(tuple(m.name for m in members), tuple(m.public for m in members))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object for `from_json`; the round trip preserves all digests."""
        return {
            "agreement": to_tree(self.agreement),
            "signatures": dict(self.signatures),
            "statements": [
                statement.model_dump(mode="json", exclude_none=True)
                for statement in self.statements
            ],
        }


def from_json(tree: Mapping[str, Any], where: str) -> SignedAgreement:
    """Parse the output of `SignedAgreement.to_json`.

    Args:
        tree: The JSON object.
        where: Source of the object, which error messages begin with.

    Raises:
        AgreementError: If it is not a signed agreement, or is written otherwise than it was signed.
    """
    signed = parsed(SignedAgreement, tree, where)
    if not written_as(signed, tree):
        raise AgreementError(f"{where}: a value is of another type than what was signed")
    return signed


def written_as(signed: SignedAgreement, tree: Mapping[str, Any]) -> bool:
    """Return whether a JSON object states exactly the values that an agreement is signed over.

    Settings accept "3" for 3 and 1 for true. Signatures cover the value that comes out, so two
    readers of one file could otherwise read two agreements under the same signatures.
    """
    return _same(signed.to_json(), {"signatures": {}, "statements": [], **tree})


def _same(one: Any, two: Any) -> bool:  # noqa: ANN401 - JSON of any type
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(map(_same, one, two))
    # RFC 8785 writes 20 and 20.0 alike, and no other two types.
    numbers = (int, float)
    alike = type(one) is type(two) or (type(one) in numbers and type(two) in numbers)
    return alike and bool(one == two)


def sign(agreement: Agreement, key: SigningKey) -> str:
    """Return a member's Ed25519 signature under an agreement, hex."""
    return key.sign(AGREEMENT_LABEL, agreement_bytes(agreement)).hex()


def signed_by(agreement: Agreement, keys: Mapping[str, SigningKey]) -> SignedAgreement:
    """Return an agreement with the signatures of several members, keys by name."""
    signatures = {name: sign(agreement, key) for name, key in keys.items()}
    return SignedAgreement(agreement=agreement, signatures=signatures)


def standing(signed: SignedAgreement) -> AgreementStatus:
    """Apply the statements in order, each verified against the state before it.

    Raises:
        AgreementError: If a statement does not follow on the state, or lacks a required signature.
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


def as_it_stood(signed: SignedAgreement, digest: str) -> SignedAgreement | None:
    """Return an agreement with its statements up to the state with a digest (hex), if it had one.

    A key that was rotated later did sign until then, so a run is judged by the keys of its time.
    """
    for count in range(len(signed.statements) + 1):
        state = signed.model_copy(update={"statements": signed.statements[:count]})
        try:
            if state.digest().hex() == digest:
                return state
        except AgreementError:
            return None
    return None


def _after(now: AgreementStatus, signed: SignedStatement, agreement: Agreement) -> AgreementStatus:
    statement = signed.statement
    if statement.previous != now.digest.hex():
        raise AgreementError("belongs to another agreement, or to an earlier state of this one")
    old = now.member(statement.member)
    # Signatures are verified with the keys of the state before, so that a new key cannot authorise
    # its own introduction.
    content = statement_bytes(statement)
    for name, signature in signed.signatures.items():
        if not _signature_valid(now.member(name).public, signature, STATEMENT_LABEL, content):
            raise AgreementError(f"the signature of {name} does not fit")
    signers = set(signed.signatures)
    if isinstance(statement, Rotation):
        if signers != {old.name}:
            raise AgreementError(f"only {old.name} itself changes its key")
        kept = now.signers[old.name]  # what the old key has signed stays valid
    else:
        _check_revocation(statement, old, signers, statement_quorum(agreement, len(now.members)))
        kept = ()  # the revoked key may be stolen, so its signatures no longer count
    # `party` verifies the bundle's signature: the new key is only accepted from its holder.
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
    # A key that was ever used is never accepted again: it may have been revoked as stolen, and old
    # signatures under it would become valid once more.
    if {new.identity, new.broker} & now.used:
        raise AgreementError(f"the new key of {new.name} is or was a key of this agreement")


def _replaced(
    now: AgreementStatus, old: Party, new: Party | None, kept: tuple[bytes, ...], digest: bytes
) -> AgreementStatus:
    """Return the state in which one member has another key, or has left."""
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
    """Return how many other members have to sign a revocation: the quorum, or all others if fewer.

    The signature of the member itself is not required, since its key may be lost.
    """
    return min(agreement.quorum, members - 1)


def check(signed: SignedAgreement, at: datetime, member: str | None = None) -> AgreementStatus:
    """Verify that an agreement is in force.

    Args:
        signed: The agreement with signatures and statements.
        at: The time of the check, with a time zone.
        member: Name of the party that checks; it has to be a member and to have signed itself.

    Returns:
        The current members and the current digest.

    Raises:
        AgreementError: If the agreement is not in force; the message states why.
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
    """Return the members that have not signed yet, in roster order.

    Raises:
        AgreementError: If a signature is invalid, or its signer is not a member.
    """
    first = {member.name: (member.public,) for member in signed.agreement.members}
    for name in signed.signatures.keys() - first.keys():
        raise AgreementError(f"{name} signed and is not a member")
    counting = signers_under(signed, now.signers)
    # A signature under a revoked key is not counted, and it is no forgery either: it fits the key
    # that the member had first. A signature that fits neither key is an error.
    for name in signed.signatures.keys() - counting - signers_under(signed, first):
        raise AgreementError(
            f"the signature of {name} does not fit:"
            " the agreement was changed after it was signed, or another key signed"
        )
    return [member.name for member in now.members if member.name not in counting]


def signers_under(signed: SignedAgreement, keys: Mapping[str, tuple[bytes, ...]]) -> set[str]:
    """Return the names whose signature is valid under one of the keys given for that name."""
    content = agreement_bytes(signed.agreement)
    return {
        name
        for name, signature in signed.signatures.items()
        if any(
            _signature_valid(key, signature, AGREEMENT_LABEL, content) for key in keys.get(name, ())
        )
    }


def _check_time(agreement: Agreement, at: datetime) -> None:
    if at >= from_timestamp(agreement.expires):
        raise AgreementError(f"the agreement expired on {agreement.expires}; amend it")
    if at < from_timestamp(agreement.created) - SKEW:
        raise AgreementError(
            f"the agreement begins on {agreement.created}, and the clock says it is earlier"
        )


def _signature_valid(public: bytes, signature: str, label: bytes, content: bytes) -> bool:
    try:
        verify(public, bytes.fromhex(signature), label, content)
    except RemoteProtocolError:
        return False
    return True
