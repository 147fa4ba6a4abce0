"""What every message between coordinator and members has in common."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from securefl.errors import SecureflError


class MessageError(SecureflError):
    """A message that does not follow the schema."""

    wire_name: ClassVar[str] = "MessageError"


class Message(BaseModel):
    """A message; `kind` names it on the wire."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
