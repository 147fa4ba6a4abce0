"""The one place where a member's errors become messages: each request gets an answer."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

from securefl.consortium.ledger.data_custody import RefusedError
from securefl.consortium.ledger.events import Refusal
from securefl.consortium.ledger.policy import in_words
from securefl.errors import SecureflError, UnwrittenError, unwritten
from securefl.federation import messages as m
from securefl.federation.member.secure_client import AbortedError

INTERNAL_ERROR = "InternalError"
"""The class of an error that no check foresaw: a bug of the member, which must stop no other."""

_log = logging.getLogger(__name__)


def reply_to(message: bytes, answer: Callable[[m.Message], m.Message]) -> list[bytes]:
    """Return the reply to a message as bytes; an error becomes a `Failure` or a `Refused`.

    Args:
        message: The message as it arrived.
        answer: Returns the reply to it, or raises.
    """
    try:
        return [m.encode(answer(m.decode(message)))]
    except RefusedError as error:
        reply: m.Message = refused(error.refusal)
    except SecureflError as error:
        blames = error.blames if isinstance(error, AbortedError) else ""
        reply = m.Failure(error=error.wire_name, text=str(error), blames=blames)
    except Exception as error:
        if unwritten(error):
            reply = m.Failure(error=UnwrittenError.wire_name, text="a disk takes nothing")
        else:
            # With the way to the error, and without its text, which may hold data.
            way = "".join(traceback.format_tb(error.__traceback__))
            _log.error("unexpected %s\n%s", type(error).__name__, way)
            reply = m.Failure(error=INTERNAL_ERROR, text=where(error))
    return [m.encode(reply)]


def refused(refusal: Refusal, entries: tuple[bytes, ...] = ()) -> m.Refused:
    """Return a refusal as a message."""
    return m.Refused(
        round=refusal.round, reason=refusal.reason, text=in_words(refusal), entries=entries
    )


def where(error: Exception) -> str:
    """Return class and place of a bug, without its text, which may hold data."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f"{last.filename}:{last.lineno}" if last else "nowhere"
    return f"{type(error).__name__} at {place}"
