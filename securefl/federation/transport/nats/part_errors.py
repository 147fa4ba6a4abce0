"""What is wrong with a part of a message that arrived."""

from __future__ import annotations

from typing import ClassVar

from securefl.errors import SecureflError


class BadPartError(SecureflError):
    """What arrived is not a part of a message, or not from the sender that the subject names."""

    wire_name: ClassVar[str] = "BadPartError"


class TooLargeError(BadPartError):
    """A message is larger than may come now; nothing of it is held any more."""

    wire_name: ClassVar[str] = "TooLargeError"


class OtherRunError(BadPartError):
    """What arrived is the sender's, but of another run of the agreement.

    Attributes:
        run: 32 bytes, that run.
    """

    wire_name: ClassVar[str] = "OtherRunError"

    def __init__(self, sender: str, run: bytes, ours: bytes) -> None:
        self.run = run
        theirs, here = run.hex()[:16], ours.hex()[:16]
        super().__init__(
            f"{sender} is still in run {theirs}: stop it, or restart it with the agreement, --facts"
            f" and --run of run {here}"
        )
