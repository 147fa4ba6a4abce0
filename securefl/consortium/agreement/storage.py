"""An agreement on disk: one file that people read, and a small one for each signature.

Signatures are files of their own (`agreement.north.sig` beside `agreement.toml`), so that members
can mail them to each other, in any order, without two of them editing one file.
"""

from __future__ import annotations

import json
import os
import secrets
import tomllib
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
from securefl.errors import AgreementError

HEADER = """\
# What the members agree on. Look at it: securefl agreement show THIS_FILE
# Every byte counts: whatever is changed here, the signatures no longer fit.

"""
_LARGEST = 1 << 22


class SignatureFile(Settings):
    """One signature, under an agreement or under a statement that changes a key of it.

    Attributes:
        format: Of this file.
        member: Who signed.
        digest: Of what was signed: the agreement, or the state after the statement.
        statement: The statement, where it is one.
        signature: Ed25519, hex.
    """

    format: Literal["securefl-signature/1"] = "securefl-signature/1"
    member: MemberName
    digest: Hex32
    statement: Statement | None = None
    signature: Hex64


@dataclass(frozen=True)
class Folder:
    """An agreement with what lies beside it.

    Attributes:
        signed: The agreement, its signatures, and the statements that count.
        waiting: Statements that do not count yet, with the reason.
    """

    signed: SignedAgreement
    waiting: tuple[tuple[SignedStatement, str], ...]


def agreement_toml(agreement: Agreement) -> str:
    """The file's text: there is one for each agreement, byte by byte."""
    return HEADER + tomli_w.dumps(to_tree(agreement), multiline_strings=True)


def write_agreement(path: Path, agreement: Agreement) -> None:
    """Write the agreement's file, over an older one.

    Raises:
        AgreementError: If it cannot be written.
    """
    write_public(path, agreement_toml(agreement))


def read_draft(path: Path) -> Agreement:
    """An agreement that may have been edited by hand, comments and all.

    Raises:
        AgreementError: If it cannot be read, or is none.
    """
    return from_tree(_toml(path), str(path))


def read_agreement(path: Path) -> Agreement:
    """An agreement whose file is, byte by byte, as it was signed.

    Raises:
        AgreementError: If it cannot be read, is none, or has a byte that nobody signed.
    """
    agreement = read_draft(path)
    if read_text(path) != agreement_toml(agreement):
        raise AgreementError(
            f"{path} was edited by hand since it was written; if the change is meant,"
            f" sign it again: securefl agreement sign {path} --key KEY"
        )
    return agreement


def read_card(path: Path) -> KeyBundle:
    """A party's card.

    Raises:
        AgreementError: If it cannot be read, is none, or its signature does not fit.
    """
    card = parsed(KeyBundle, _toml(path), str(path))
    card.party()
    return card


def write_card(path: Path, card: KeyBundle) -> None:
    """Write a card, over an older one.

    Raises:
        AgreementError: If it cannot be written.
    """
    text = f"# {card.fingerprint}  (fingerprint, for a phone call)\n\n"
    write_public(path, text + tomli_w.dumps(card.model_dump(mode="json")))


def read_folder(path: Path) -> Folder:
    """The agreement with all signatures that lie beside it.

    Raises:
        AgreementError: If a file is wrong, or a signature is of another agreement.
    """
    agreement = read_agreement(path)
    digest, signatures = agreement_digest(agreement).hex(), dict[str, str]()
    files = [(place, _read_signature(place)) for place in signature_paths(path)]
    for place, file in files:
        if file.statement is not None:
            continue
        if file.digest != digest:
            raise AgreementError(
                f"{place}: {file.member} signed another version,"
                " or the agreement was changed after it was signed"
            )
        if signatures.setdefault(file.member, file.signature) != file.signature:
            raise AgreementError(f"{place}: there is another signature of {file.member} beside it")
    signed = SignedAgreement(agreement=agreement, signatures=signatures)
    return _in_order(signed, _gathered(files))


def read_standing(path: Path) -> AgreementStatus:
    """Who is a member now, whoever has signed the agreement.

    Raises:
        AgreementError: If a file is wrong.
    """
    files = [(place, _read_signature(place)) for place in signature_paths(path)]
    unsigned = SignedAgreement(agreement=read_agreement(path))
    return standing(_in_order(unsigned, _gathered(files)).signed)


def read_signed(path: Path) -> SignedAgreement:
    """The agreement with the signatures and statements that count.

    Raises:
        AgreementError: As in `read_folder`.
    """
    return read_folder(path).signed


def signature_paths(path: Path) -> list[Path]:
    """The files with signatures beside an agreement's file."""
    begin = f"{path.stem}."
    found = path.parent.glob("*.sig")
    return sorted(place for place in found if place.name.startswith(begin))


def write_signature(
    path: Path, member: str, signature: str, digest: bytes, statement: Statement | None = None
) -> Path:
    """Write a signature beside the agreement's file, and say where.

    Args:
        path: The agreement's file.
        member: Who signed.
        signature: The signature, hex.
        digest: What it is for, as `SignatureFile.digest` says.
        statement: The statement, where it is one.

    Raises:
        AgreementError: If it cannot be written.
    """
    file = SignatureFile(
        member=member, digest=digest.hex(), statement=statement, signature=signature
    )
    what = "" if statement is None else f"{statement.kind}-{statement.member}-{digest.hex()[:8]}."
    place = path.with_name(f"{path.stem}.{what}{member}.sig")
    tree = file.model_dump(mode="json", exclude_none=True)
    write_public(place, json.dumps(tree, indent=2) + "\n")
    return place


def write_public(path: Path, text: str) -> None:
    """Replace a file's content; a kill at any point leaves the old file or the new one.

    Raises:
        AgreementError: If it cannot be written.
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
        raise AgreementError(f"cannot write {path}: {error.strerror}") from None


def read_text(path: Path) -> str:
    """A small text file.

    Raises:
        AgreementError: If it cannot be read, is no text, or is far too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise AgreementError(f"{path} is larger than any such file")
        return content.decode()
    except FileNotFoundError:
        raise AgreementError(f"{path} does not exist") from None
    except OSError as error:
        raise AgreementError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise AgreementError(f"{path} is no text") from None


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise AgreementError(f"{path} is no valid TOML: {error}") from None


def _read_signature(path: Path) -> SignatureFile:
    try:
        tree = json.loads(read_text(path))
    except (ValueError, RecursionError):
        raise AgreementError(f"{path} is no valid JSON") from None
    return parsed(SignatureFile, tree, str(path))


def _gathered(files: list[tuple[Path, SignatureFile]]) -> list[SignedStatement]:
    """The statements in some files, each with all its signatures."""
    statements: dict[str, SignedStatement] = {}
    for place, file in files:
        if file.statement is None:
            continue
        digest = apply_key_changes(file.statement).hex()
        if file.digest != digest:
            raise AgreementError(f"{place}: the statement was changed after it was signed")
        others = statements[digest].signatures if digest in statements else {}
        statements[digest] = SignedStatement(
            statement=file.statement, signatures={**others, file.member: file.signature}
        )
    return list(statements.values())


def _in_order(signed: SignedAgreement, statements: list[SignedStatement]) -> Folder:
    """The chain of statements, as far as it is complete.

    Where a revocation and another statement follow on the same state, the revocation counts: what
    a stolen key has signed shall not keep the others from declaring it void.
    """
    left = sorted(statements, key=lambda entry: entry.statement.kind != "revocation")
    while True:
        extended = [(entry, _extended(signed, entry)) for entry in left]
        valid = [
            (entry, longer) for entry, longer in extended if isinstance(longer, SignedAgreement)
        ]
        if not valid:
            return Folder(signed, tuple((entry, str(reason)) for entry, reason in extended))
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
    """The agreement with one statement more, or why that statement does not count."""
    longer = signed.model_copy(update={"statements": (*signed.statements, statement)})
    try:
        standing(longer)
    except AgreementError as error:
        return str(error)
    return longer
