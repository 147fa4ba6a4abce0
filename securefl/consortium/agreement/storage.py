"""Files of an agreement: one human-readable TOML file, and one small file for each signature.

Signatures are separate files (`agreement.north.sig` next to `agreement.toml`), so that members can
exchange them by mail, in any order, without concurrent edits of one file.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tomli_w

from securefl.config.base import Settings
from securefl.config.data import MemberName
from securefl.consortium.agreement.key_changes import SignedStatement, Statement, apply_key_changes
from securefl.consortium.agreement.model import Agreement, agreement_digest, from_tree, to_tree
from securefl.consortium.agreement.signatures import AgreementStatus, SignedAgreement, standing
from securefl.consortium.encoding.jcs import Hex32, Hex64
from securefl.consortium.encoding.parsing import parsed
from securefl.consortium.keys.parties import KeyBundle
from securefl.errors import AgreementError, disk_error
from securefl.untrusted import files
from securefl.untrusted.documents import parse_json, parse_toml

HEADER = """\
# What the members agree on. Look at it: securefl agreement show THIS_FILE
# Every byte counts: whatever is changed here, the signatures no longer fit.

"""
_MOST_SIGNATURES = 1_000
"""Signature files beside an agreement; ordering statements takes the square of their number."""


class SignatureFile(Settings):
    """One signature, under an agreement or under a statement that changes a key of it.

    Attributes:
        format: Version of this file format.
        member: Name of the signer.
        digest: Digest of what was signed: the agreement, or the state after the statement.
        statement: The statement; None for a signature under the agreement.
        signature: Ed25519, hex.
    """

    format: Literal["securefl-signature/1"] = "securefl-signature/1"
    member: MemberName
    digest: Hex32
    statement: Statement | None = None
    signature: Hex64


@dataclass(frozen=True)
class Folder:
    """An agreement with the signature files next to it.

    Attributes:
        signed: The agreement, its signatures, and the statements in effect.
        waiting: Statements not yet in effect, with the reason.
    """

    signed: SignedAgreement
    waiting: tuple[tuple[SignedStatement, str], ...]


def agreement_toml(agreement: Agreement) -> str:
    """Return the text of the agreement's file, which is unique for each agreement."""
    return HEADER + tomli_w.dumps(to_tree(agreement), multiline_strings=True)


def write_agreement(path: Path, agreement: Agreement) -> None:
    """Write the agreement's file, replacing an older one.

    Raises:
        AgreementError: If it cannot be written.
    """
    write_public(path, agreement_toml(agreement))


def read_draft(path: Path) -> Agreement:
    """Read an agreement that may have been edited by hand.

    Raises:
        AgreementError: If it cannot be read, or is not an agreement.
    """
    return from_tree(_toml(path), str(path))


def read_agreement(path: Path) -> Agreement:
    """Read an agreement and verify that its file has the canonical text.

    The signatures cover the parsed content only. Requiring the canonical text keeps a reader from
    being misled by comments or formatting that no member signed.

    Raises:
        AgreementError: If it cannot be read, is not an agreement, or was edited by hand.
    """
    agreement = read_draft(path)
    if read_text(path) != agreement_toml(agreement):
        raise AgreementError(
            f"{path} was edited by hand since it was written; if the change is meant,"
            f" sign it again: securefl agreement sign {path} --key KEY"
        )
    return agreement


def read_card(path: Path) -> KeyBundle:
    """Read a party's public key bundle.

    Raises:
        AgreementError: If it cannot be read, is not a key bundle, or its signature is invalid.
    """
    bundle = parsed(KeyBundle, _toml(path), str(path))
    bundle.party()  # verifies the signature
    return bundle


def write_card(path: Path, bundle: KeyBundle) -> None:
    """Write a public key bundle, replacing an older file.

    Raises:
        AgreementError: If it cannot be written.
    """
    text = f"# {bundle.fingerprint}  (fingerprint, for a phone call)\n\n"
    write_public(path, text + tomli_w.dumps(bundle.model_dump(mode="json")))


def read_folder(path: Path) -> Folder:
    """Read the agreement with all signature files next to it.

    Raises:
        AgreementError: If a file is invalid, or a signature is of another agreement.
    """
    agreement = read_agreement(path)
    digest, signatures = agreement_digest(agreement).hex(), dict[str, str]()
    beside = [(found, _read_signature(found)) for found in signature_paths(path)]
    for found, file in beside:
        if file.statement is not None:
            continue
        if file.digest != digest:
            raise AgreementError(
                f"{found}: {file.member} signed another version,"
                " or the agreement was changed after it was signed"
            )
        if signatures.setdefault(file.member, file.signature) != file.signature:
            raise AgreementError(f"{found}: there is another signature of {file.member} beside it")
    signed = SignedAgreement(agreement=agreement, signatures=signatures)
    return _in_order(signed, _gathered(beside))


def read_standing(path: Path) -> AgreementStatus:
    """Read the current members and keys, without regard to signatures under the agreement.

    Raises:
        AgreementError: If a file is invalid.
    """
    beside = [(found, _read_signature(found)) for found in signature_paths(path)]
    unsigned = SignedAgreement(agreement=read_agreement(path))
    return standing(_in_order(unsigned, _gathered(beside)).signed)


def read_signed(path: Path) -> SignedAgreement:
    """Read the agreement with its signatures and the statements in effect.

    Raises:
        AgreementError: As in `read_folder`.
    """
    return read_folder(path).signed


def signature_paths(path: Path) -> list[Path]:
    """Return the signature files next to an agreement's file, sorted.

    Raises:
        AgreementError: If there are more than any consortium has.
    """
    begin = f"{path.stem}."
    found = sorted(file for file in path.parent.glob("*.sig") if file.name.startswith(begin))
    if len(found) > _MOST_SIGNATURES:
        raise AgreementError(
            f"{path} has {len(found):,} signature files: {_MOST_SIGNATURES:,} at most"
        )
    return found


def write_signature(
    path: Path, member: str, signature: str, digest: bytes, statement: Statement | None = None
) -> Path:
    """Write a signature next to the agreement's file, and return its path.

    Args:
        path: The agreement's file.
        member: Name of the signer.
        signature: Ed25519 signature, hex.
        digest: Digest of what was signed; see `SignatureFile.digest`.
        statement: The statement; None for a signature under the agreement.

    Raises:
        AgreementError: If it cannot be written.
    """
    file = SignatureFile(
        member=member, digest=digest.hex(), statement=statement, signature=signature
    )
    what = "" if statement is None else f"{statement.kind}-{statement.member}-{digest.hex()[:8]}."
    target = path.with_name(f"{path.stem}.{what}{member}.sig")
    tree = file.model_dump(mode="json", exclude_none=True)
    write_public(target, json.dumps(tree, indent=2) + "\n")
    return target


def write_public(path: Path, text: str) -> None:
    """Replace a file atomically: a crash at any point leaves the old content or the new one.

    Raises:
        UnwrittenError: If the disk takes nothing now; `StorageFullError` if it is full.
        UnwritableError: If it cannot be written at all.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(path, error) from None


def read_text(path: Path) -> str:
    """Read a small text file.

    Raises:
        AgreementError: If it cannot be read, is not UTF-8 text, or is larger than 4 MiB.
    """
    return files.read_text(path, files.SMALL, error=AgreementError)


def _toml(path: Path) -> Mapping[str, Any]:
    return parse_toml(read_text(path), str(path), error=AgreementError)


def _read_signature(path: Path) -> SignatureFile:
    tree = parse_json(read_text(path), str(path), error=AgreementError)
    return parsed(SignatureFile, tree, str(path))


def _gathered(beside: list[tuple[Path, SignatureFile]]) -> list[SignedStatement]:
    """Merge signature files into statements, each with all its signatures."""
    statements: dict[str, SignedStatement] = {}
    for found, file in beside:
        if file.statement is None:
            continue
        digest = apply_key_changes(file.statement).hex()
        if file.digest != digest:
            raise AgreementError(f"{found}: the statement was changed after it was signed")
        others = statements[digest].signatures if digest in statements else {}
        statements[digest] = SignedStatement(
            statement=file.statement, signatures={**others, file.member: file.signature}
        )
    return list(statements.values())


def _in_order(signed: SignedAgreement, statements: list[SignedStatement]) -> Folder:
    """Order statements into the longest valid chain; the rest is returned as waiting.

    Where a revocation and another statement follow on the same state, the revocation takes
    precedence: a statement signed with a stolen key must not prevent its revocation.
    """
    # False sorts first: the revocations come before the rotations.
    left = sorted(statements, key=lambda entry: entry.statement.kind != "revocation")
    while True:
        extended = [(entry, _extended(signed, entry)) for entry in left]
        valid = [
            (entry, longer) for entry, longer in extended if isinstance(longer, SignedAgreement)
        ]
        if not valid:
            return Folder(signed, tuple((entry, str(reason)) for entry, reason in extended))
        # Two statements of one kind on one state have no order; choosing one would let the order
        # in which files are listed decide about keys.
        kinds = [entry.statement.kind for entry, _ in valid]
        if kinds.count(kinds[0]) > 1:
            names = " and ".join(entry.statement.member for entry, _ in valid[:2])
            raise AgreementError(
                f"two statements, about {names}, follow on the same state;"
                " take the files of one away and let it be signed anew after the other"
            )
        left.remove(valid[0][0])
        signed = valid[0][1]


def _extended(signed: SignedAgreement, statement: SignedStatement) -> SignedAgreement | str:
    """Return the agreement with one more statement, or the reason why it is not valid yet."""
    longer = signed.model_copy(update={"statements": (*signed.statements, statement)})
    try:
        standing(longer)
    except AgreementError as error:
        return str(error)
    return longer
