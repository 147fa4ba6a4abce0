"""The member's own ledger context: privacy ledger, policy and data set, outside any agreement."""

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
    """Return the default folder of ledgers.

    It is `$SECUREFL_HOME/books`, else `$XDG_DATA_HOME/securefl/books`, else below `~/.local/share`.

    Raises:
        InputError: If no variable is set and the user has no home directory.
    """
    own, data = os.environ.get(HOME), os.environ.get("XDG_DATA_HOME")
    if own:
        return Path(own) / "books"
    try:
        base = Path(data) if data else Path.home() / ".local" / "share"
    except RuntimeError:
        raise InputError(
            f"no folder for the members' ledgers: use --book DIR, or set {HOME}"
        ) from None
    return base / "securefl" / "books"


class RefusedError(InputError):
    """Raised if the member's policy or budget forbids what was requested.

    Attributes:
        refusal: The refusal as recorded in the member's ledger.
    """

    wire_name: ClassVar[str] = "RefusedError"

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(in_words(refusal))
        self.refusal = refusal


@dataclass(frozen=True)
class LedgerContext:
    """Ledger folder, policy and data set of one member.

    Attributes:
        books: Folder of the member's privacy ledger.
        policy: Its policy; None allows everything and sets no cap.
        digest: Digest of its tables, hex.
        label: Display name of the data set where the policy does not name it.
    """

    books: Path
    policy: Policy | None
    digest: str
    label: str
