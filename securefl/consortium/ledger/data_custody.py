"""What is a member's own and no part of an agreement: its book, its policy, its data set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from securefl.consortium.ledger.events import Refusal
from securefl.consortium.ledger.policy import Policy, in_words
from securefl.errors import InputError

HOME = "SECUREFL_HOME"


def default_books() -> Path:
    """`$SECUREFL_HOME/books`, else `$XDG_DATA_HOME/securefl/books`, else below `~/.local/share`.

    Raises:
        InputError: None of the variables is set and this user has no home.
    """
    own, data = os.environ.get(HOME), os.environ.get("XDG_DATA_HOME")
    if own:
        return Path(own) / "books"
    try:
        base = Path(data) if data else Path.home() / ".local" / "share"
    except RuntimeError:
        raise InputError(
            f"no place for the members' books: use --book DIR, or set {HOME}"
        ) from None
    return base / "securefl" / "books"


class RefusedError(InputError):
    """The member does not do what it was asked; its policy or its budget forbids it.

    Attributes:
        refusal: What its book says of it.
    """

    wire_name: ClassVar[str] = "RefusedError"

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(in_words(refusal))
        self.refusal = refusal


@dataclass(frozen=True)
class LedgerContext:
    """What is a member's own and no part of an agreement.

    Attributes:
        books: Folder of the member's book.
        policy: Its policy; None allows everything and caps nothing.
        digest: Digest of its tables, hex.
        label: What a person calls the data set where the policy has no name for it.
    """

    books: Path
    policy: Policy | None
    digest: str
    label: str
