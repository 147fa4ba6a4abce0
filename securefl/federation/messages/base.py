"""The base of all messages between the coordinator and the members."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from securefl.errors import SecureflError


class MessageError(SecureflError):
    """A message that does not follow the schema."""

    wire_name: ClassVar[str] = "MessageError"


class Message(BaseModel):
    """A message; its `kind` is its name on the wire.

    Strict: no value is converted, and unknown fields are refused, so that every accepted message
    has exactly one meaning at both ends.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
