"""Operations of a member on an agreement: generate a key, sign, rotate, revoke, show the status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from securefl.consortium.agreement.drafting import check_data
from securefl.consortium.agreement.key_changes import (
    Revocation,
    Rotation,
    apply_key_changes,
    sign_statement,
)
from securefl.consortium.agreement.model import Agreement, agreement_digest
from securefl.consortium.agreement.signatures import (
    AgreementStatus,
    SignedAgreement,
    check,
    missing_signatures,
    sign,
    standing,
    statement_quorum,
)
from securefl.consortium.agreement.storage import (
    Folder,
    agreement_toml,
    read_draft,
    read_folder,
    read_standing,
    read_text,
    write_agreement,
    write_card,
    write_signature,
)
from securefl.consortium.encoding.fingerprints import fingerprint
from securefl.consortium.keys.key_files import generate_key, write_key
from securefl.consortium.keys.parties import KeyBundle, Party, key_bundle_of
from securefl.errors import AgreementError
from securefl.untrusted.files import taken
from securefl_protocols.primitives.signing import SigningKey


@dataclass(frozen=True)
class NewKey:
    """A newly generated identity key.

    Attributes:
        key: File with the private key, encrypted; it stays with its owner. None for a key in a
            token.
        card: File with the public key bundle, for all other parties.
        fingerprint: Fingerprint of the public key bundle.
    """

    key: Path | None
    card: Path
    fingerprint: str


@dataclass(frozen=True)
class Change:
    """A key-change statement that was signed.

    Attributes:
        file: File with the signature.
        member: The member whose key changes.
        signatures: Number of signatures so far.
        needed: Number of signatures required.
    """

    file: Path
    member: str
    signatures: int
    needed: int


@dataclass(frozen=True)
class Status:
    """Status of an agreement.

    Attributes:
        agreement: The agreement.
        fingerprint: Fingerprint of the agreement with all key changes, to compare before signing.
        members: The current members.
        signed: Names of the members whose signature is valid.
        problem: Why it is not in force; empty if it is.
        waiting: Key changes that are not in effect yet, with the reason.
    """

    agreement: Agreement
    fingerprint: str
    members: tuple[Party, ...]
    signed: tuple[str, ...]
    problem: str
    waiting: tuple[str, ...]


def make_key(folder: Path, name: str, passphrase: bytes) -> NewKey:
    """Generate an identity key, `NAME.key` under a passphrase, and its key bundle, `NAME.card`.

    Raises:
        AgreementError: If the name is not allowed, or the bundle exists or cannot be written.
        KeyFileError: If the key cannot be written, or the passphrase is too short.
    """
    key = generate_key()
    bundle = key_bundle_of(name, key)
    secret, public = folder / f"{name}.key", folder / f"{name}.card"
    # A card of that name is another key's; a key that is there `write_key` refuses.
    if taken(public) and not taken(secret):
        raise AgreementError(f"{public} exists; it was not touched")
    write_key(secret, key, passphrase)
    write_card(public, bundle)
    return NewKey(secret, public, bundle.fingerprint)


def write_token_card(folder: Path, name: str, key: SigningKey) -> NewKey:
    """Write the public key bundle of a key in a token, `NAME.card`; there is no file of the key.

    Raises:
        AgreementError: If the name is not allowed, or the bundle exists or cannot be written.
    """
    bundle, public = key_bundle_of(name, key), folder / f"{name}.card"
    if taken(public):
        raise AgreementError(f"{public} exists; it was not touched")
    write_card(public, bundle)
    return NewKey(None, public, bundle.fingerprint)


def sign_agreement(path: Path, key: SigningKey) -> tuple[str, Path]:
    """Sign an agreement's file, after writing an edited one in its canonical form.

    Returns:
        Name of the signer, and path of the signature.

    Raises:
        AgreementError: If the key is no member's, or a file is invalid.
    """
    agreement = read_draft(path)
    check_data(agreement, path, complete=True)  # who signs wants a run of it
    if read_text(path) != agreement_toml(agreement):
        write_agreement(path, agreement)
    name = _owner(read_standing(path), key, path)
    return name, write_signature(path, name, sign(agreement, key), agreement_digest(agreement))


def rotate(path: Path, old: SigningKey, new: SigningKey) -> Change:
    """Replace a member's own key.

    Raises:
        AgreementError: If the old key is no member's, or the new one was used before.
    """
    signed = read_folder(path).signed
    name = _owner(standing(signed), old, path)
    statement = Rotation(previous=signed.digest().hex(), card=key_bundle_of(name, new))
    return _signed_change(path, signed, statement, {name: old}, needed=1)


def revoke(path: Path, name: str, key: SigningKey, card: KeyBundle | None = None) -> Change:
    """Sign that a member's key is void.

    Args:
        path: The agreement's file.
        name: The member whose key is void.
        key: Identity key of the member that signs.
        card: The member's new key bundle, if it stays.

    Raises:
        AgreementError: If one of the two is not a member, or they are the same.
    """
    signed = read_folder(path).signed
    now = standing(signed)
    signer = _owner(now, key, path)
    if signer == name:
        raise AgreementError(
            f"{name} cannot declare its own key void; it can replace it: securefl agreement rotate"
        )
    statement = Revocation(
        previous=now.digest.hex(), member=name, identity=now.member(name).identity, card=card
    )
    needed = statement_quorum(signed.agreement, len(now.members))
    return _signed_change(path, signed, statement, {signer: key}, needed=needed)


def status(path: Path, at: datetime) -> Status:
    """Return the status of an agreement's file at a given time.

    Raises:
        AgreementError: If a file is invalid.
    """
    folder = read_folder(path)
    now = standing(folder.signed)
    missing = missing_signatures(folder.signed, now)
    return Status(
        agreement=folder.signed.agreement,
        fingerprint=fingerprint(now.digest),
        members=now.members,
        signed=tuple(member.name for member in now.members if member.name not in missing),
        problem=_problem(folder.signed, at),
        waiting=_waiting(folder, now),
    )


def _owner(now: AgreementStatus, key: SigningKey, path: Path) -> str:
    for member in now.members:
        if member.public == key.public:
            return member.name
    raise AgreementError(f"{path}: the key is no member's")


def _signed_change(
    path: Path,
    signed: SignedAgreement,
    statement: Rotation | Revocation,
    keys: dict[str, SigningKey],
    *,
    needed: int,
) -> Change:
    ((name, key),) = keys.items()
    if statement.card is not None:
        _check_bundle(signed, statement.member, statement.card)
    digest = apply_key_changes(statement)
    file = write_signature(path, name, sign_statement(statement, key), digest, statement)
    return Change(file, statement.member, _count(path, digest), needed)


def _check_bundle(signed: SignedAgreement, name: str, card: KeyBundle) -> None:
    # `standing` repeats these checks at every reader; here they stop a member from signing a
    # statement that all others would refuse.
    now = standing(signed)
    if card.name != name:
        raise AgreementError(f"the card is of {card.name} and not of {name}")
    if {card.identity, card.broker} & now.used:
        raise AgreementError(f"the new key of {name} is or was a key of this agreement")


def _count(path: Path, digest: bytes) -> int:
    """Return the number of signatures of a statement among the files of the agreement."""
    folder = read_folder(path)
    entries = [*folder.signed.statements, *(entry for entry, _ in folder.waiting)]
    return sum(len(e.signatures) for e in entries if apply_key_changes(e.statement) == digest)


def _problem(signed: SignedAgreement, at: datetime) -> str:
    try:
        check(signed, at)
    except AgreementError as error:
        return str(error)
    return ""


def _waiting(folder: Folder, now: AgreementStatus) -> tuple[str, ...]:
    return tuple(
        f"{entry.statement.kind} of {entry.statement.member}, signed by"
        f" {', '.join(entry.signatures)}: {reason.partition(': ')[2]}"
        for entry, reason in folder.waiting
        if entry.statement.previous == now.digest.hex()
    )
