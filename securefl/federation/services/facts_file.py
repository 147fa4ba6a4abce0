"""The facts that parties agreed on, as a file: its digest at once, its content when it is needed.

The digest decides which run this is, and a party can connect before it has imported what the
content is made of.
"""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgpack

from securefl.errors import InputError
from securefl.untrusted.files import MEBIBYTE, read_bytes

VERSION = 2
_LARGEST = 1024 * MEBIBYTE


class Facts:
    """Facts from a file.

    Attributes:
        digest: SHA-256 of the file.
        start: The model before the first round as it travels, where an earlier one was agreed;
            the coordinator, which has no catalogue, takes it from here, and no member does.
    """

    def __init__(self, packed: bytes, where: str) -> None:
        """Read all but the content.

        Args:
            packed: The bytes of the file.
            where: Its name, for messages.

        Raises:
            InputError: If they are no facts of a task.
        """
        self.digest, self._where = sha256(packed).digest(), where
        try:
            tree = msgpack.unpackb(packed)
            if tree["version"] != VERSION:
                raise ValueError("another version")
            self.start: bytes | None = tree.get("start")
            if not isinstance(self.start, bytes | None):
                raise ValueError("no model")
            self._tree = tree["facts"], tree["task"]
        except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException):
            raise self._damaged() from None

    @cached_property
    def content(self) -> Any:  # noqa: ANN401 - each task has its own
        """The task's own facts object.

        Raises:
            InputError: If it is damaged.
        """
        from securefl.tasks.common.facts_tree import facts_of

        try:
            return facts_of(*self._tree)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise self._damaged() from None

    def _damaged(self) -> InputError:
        return InputError(f"{self._where} is damaged: no facts of a task")


def open_facts(path: Path) -> Facts:
    """Return the facts in a file, whose content is read when it is needed.

    Raises:
        InputError: If the file is missing or no facts of a task.
    """
    return Facts(read_bytes(path, _LARGEST), str(path))
