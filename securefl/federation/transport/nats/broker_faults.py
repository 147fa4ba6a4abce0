"""From an error of the broker or of the way to it to a kind of fault."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final

from nats.errors import NoRespondersError
from nats.js.errors import ServiceUnavailableError

_EXPIRED: Final = {9, 10}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_OTHER_NAME: Final = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_INSUFFICIENT: Final = {10023, 10047, 10028}
"""JetStream's own codes: insufficient resources, storage and memory exceeded."""
_OFF: Final = {10039, 10076}
"""JetStream's own codes: not enabled for the account, not enabled."""
_KINDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLError, "tls"),
    (ConnectionRefusedError, "refused"),
    (socket.gaierror, "address"),
    (ServiceUnavailableError, "jetstream-off"),
    (NoRespondersError, "jetstream-off"),
    (TimeoutError, "timeout"),  # that of nats-py is one too
)
_TEXTS: Final = (
    ("authorization violation", "auth"),
    ("authentication timeout", "timeout"),  # the broker's: a slow line or machine, and no wrong key
    ("authentication", "auth"),
    ("maximum connections", "crowded"),
    ("errno 111", "refused"),
    ("connection refused", "refused"),
    ("jetstream not enabled", "jetstream-off"),
    ("no space left", "store-full"),
    ("insufficient", "store-full"),
)


def code_of(error: BaseException) -> str:
    """Return the kind of fault that an error of the connection shows, a key of `FAULTS`.

    What is none of the known errors is a lost connection, which it is for the one who waits.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(error.verify_code)
    found = next((code for kind, code in _KINDS if isinstance(error, kind)), None)
    # asyncio gathers the errors of several addresses in one text, nats-py those of a broker.
    return _of_text(str(error)) if found is None else found


def _of_certificate(code: int) -> str:
    if code in _EXPIRED:
        return "tls-expired"
    return "tls-name" if code in _OTHER_NAME else "tls-untrusted"


def _of_text(text: str) -> str:
    lowered = re.sub(r"\s+", " ", text.lower())
    return next((code for words, code in _TEXTS if words in lowered), "lost")


def code_of_answer(error: Mapping[str, Any]) -> str:
    """Return the kind of fault that JetStream's answer shows; empty for a limit of one sender."""
    number = error.get("err_code")
    if number in _INSUFFICIENT:
        return "store-full"
    if number in _OFF:
        return "jetstream-off"
    found = _of_text(str(error.get("description", "")))
    return found if found in {"store-full", "jetstream-off"} else ""
