"""Content-addressed model cache: a model that a member has is named by its SHA-256, and not sent.

A request with a long `shared` field is sent with the digest in its place. A member that has the
model, or computes it from the last sum, puts it back; one that does not answers `CacheMiss`, and is
sent the model. A wrong guess of the coordinator costs a message and changes no result.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeVar

import msgpack

from securefl.federation import messages as m
from securefl.federation.transport.timeouts import kind_of

ValueT = TypeVar("ValueT")
_CARRYING = frozenset(("train", "train-masked", "evaluate", "deliver", "release-scores", "vote"))
_LONG = 4096
_KEPT = 2
_DIGEST = 32
_TRIES = 2
"""After so many consecutive models that a member could not compute, new ones are sent in full."""


class ModelNamer:
    """The naming of the model in a request, done once for all members that get the same one."""

    def __init__(self) -> None:
        self._last: tuple[bytes, tuple[bytes, bytes] | None] = b"", None

    def named(self, message: bytes) -> tuple[bytes, bytes] | None:
        """See `named`."""
        if self._last[0] is not message:
            self._last = message, named(message)
        return self._last[1]


def named(message: bytes) -> tuple[bytes, bytes] | None:
    """Return the digest of the model in a request, and the request without it; None without one."""
    if len(message) < _LONG or kind_of(message) not in _CARRYING:
        return None
    fields = msgpack.unpackb(message)
    digest = sha256(fields["shared"]).digest()
    short: bytes = msgpack.packb(fields | {"shared": b"", "named": digest})
    return digest, short


class ModelHoldings:
    """The coordinator's estimate of which models each member has; a wrong one costs a message."""

    def __init__(self) -> None:
        self._sent: defaultdict[str, OrderedDict[bytes, None]] = defaultdict(OrderedDict)
        self._lacked: defaultdict[str, int] = defaultdict(int)

    def worth_naming(self, party: str, digest: bytes) -> bool:
        """Return whether the member may have the model: it was sent, or follows from a sum."""
        return digest in self._sent[party] or self._lacked[party] < _TRIES

    def lacked(self, party: str) -> None:
        """Note that the member did not have the model."""
        self._lacked[party] += 1

    def has(self, party: str, digest: bytes, *, computed: bool) -> None:
        """Note that the member has this model: it answered a request about it."""
        if computed and digest not in self._sent[party]:
            self._lacked[party] = 0
        _remember(self._sent[party], digest, None)


class Models:
    """The models that a member has, by digest."""

    def __init__(self, following: Callable[[], bytes | None]) -> None:
        """Start without models.

        Args:
            following: Returns the model that follows from the last sum, if the member knows one.
        """
        self._following = following
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()

    def whole(self, message: bytes) -> bytes | None:
        """Return a request with its model in it; None where the named model is not here.

        Raises:
            MessageError: If it is no well-formed request.
        """
        if kind_of(message) not in _CARRYING:
            return message
        fields, digest = _parted(message)
        if digest is None:
            _remember(self._kept, sha256(fields["shared"]).digest(), fields["shared"])
            return message
        model = self._found(digest)
        if model is None:
            return None
        _remember(self._kept, digest, model)
        packed: bytes = msgpack.packb(fields | {"shared": model})
        return packed

    def lasting(self, message: bytes) -> bytes:
        """Return a request as the journal keeps it, so that it can be answered after a restart.

        A model that follows from the last sum can be computed again after a restart. One that is
        here because an earlier request carried it cannot, so the request is kept with the model.

        Raises:
            MessageError: If it is no well-formed request.
        """
        if kind_of(message) not in _CARRYING:
            m.decode(message)
            return message
        _, digest = _parted(message)
        if digest is None or self._followed(digest) is not None:
            return message
        return self.whole(message) or message

    def _found(self, digest: bytes) -> bytes | None:
        return self._kept[digest] if digest in self._kept else self._followed(digest)

    def _followed(self, digest: bytes) -> bytes | None:
        """Return the model that follows from the last sum, if it is this one."""
        model = self._following()
        # What is kept under a digest was digested here, so that the same bytes are not once more.
        known = model is not None and self._kept.get(digest) == model
        if model is None or not (known or sha256(model).digest() == digest):
            return None
        _remember(self._kept, digest, model)
        return model


def _parted(message: bytes) -> tuple[dict[str, Any], bytes | None]:
    """Return the fields of a request that may name its model, and the digest if it does.

    Raises:
        MessageError: If it is no well-formed request but for that name.
    """
    try:
        fields = m.unpacked(message)
        digest = fields.pop("named", None)
        packed = message if digest is None else msgpack.packb(fields)
    except (ValueError, TypeError) as error:
        raise m.MessageError(f"malformed message ({type(error).__name__})") from None
    if digest is not None and not (isinstance(digest, bytes) and len(digest) == _DIGEST):
        raise m.MessageError("malformed message (a name that is no digest)")
    m.decode(packed)
    return fields, digest


def _remember(kept: OrderedDict[bytes, ValueT], digest: bytes, value: ValueT) -> None:
    kept[digest] = value
    kept.move_to_end(digest)
    while len(kept) > _KEPT:
        kept.popitem(last=False)
