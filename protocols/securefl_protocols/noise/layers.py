"""Keys of noise that can be taken back: a chain, of which one link opens all that follows.

A member draws its noise share in layers 0..r, each from a key of its own. Link 0 is a secret that
is fresh for the round; from link l follow the key of layer l and link l + 1, and nothing that came
before. If k members are missing, layers beyond k are needless: link k + 1 opens them, and says
nothing of layers 0..k. Link r + 1 is the anchor. It is signed with the masked input, so that the
keys are chosen before anybody knows the sum, and whoever is shown a link follows it to the anchor.
"""

from typing import Protocol

from securefl_protocols.primitives.errors import LocalProtocolError, RemoteProtocolError
from securefl_protocols.primitives.kdf import KEY_BYTES, derive_key, index_bytes

LAYER_LABEL = b"securefl/1/noise layer"
LINK_LABEL = b"securefl/1/noise link"


class NoiseLayers(Protocol):
    """The layers of one member's share in one round."""

    @property
    def anchor(self) -> bytes:
        """32 bytes that the chain ends with."""

    def reveal(self, missing: int) -> bytes:
        """The link that opens all layers beyond `missing`; no bytes where nothing is revealed."""


class NoiseChain:
    """A member's own chain. It reveals one link, for one number of missing members."""

    def __init__(self, secret: bytes, layers: int) -> None:
        """Derive the chain.

        Args:
            secret: 32 bytes, fresh for the round.
            layers: r, how many layers can be taken back.

        Raises:
            LocalProtocolError: The secret is short.
        """
        self._links = [secret]
        for layer in range(layers + 1):
            self._links.append(_next(self._links[-1], layer))
        self._revealed: int | None = None

    def __repr__(self) -> str:
        return "NoiseChain(...)"

    @property
    def anchor(self) -> bytes:
        """See `NoiseLayers`."""
        return self._links[-1]

    def keys(self) -> tuple[bytes, ...]:
        """The keys of all layers, 32 bytes each, beginning with the one that is never opened."""
        return tuple(_key(link, layer) for layer, link in enumerate(self._links[:-1]))

    def reveal(self, missing: int) -> bytes:
        """See `NoiseLayers`; to be called once the members have signed who survived.

        Raises:
            LocalProtocolError: More are missing than the protocol lets through, or a link was
                revealed for another number before.
        """
        if not 0 <= missing < len(self._links) - 1:
            raise LocalProtocolError(f"{missing} missing members are not let through")
        if self._revealed not in (None, missing):
            raise LocalProtocolError("layers of one round are revealed for one set of survivors")
        self._revealed = missing
        link = self._links[missing + 1]
        return b"" if link is self.anchor else link


class UnopenableLayers:
    """Layers whose secret is gone with the process that drew them: they stay in the sum."""

    def __init__(self, anchor: bytes) -> None:
        """Take the anchor that was sent, or any if none was."""
        self.anchor = anchor

    def reveal(self, missing: int) -> bytes:
        """Return no bytes."""
        del missing
        return b""


def opened(link: bytes, first: int, layers: int, anchor: bytes) -> tuple[bytes, ...]:
    """The keys of the layers `first` to r that a revealed link opens.

    Args:
        link: 32 bytes.
        first: The layer that it stands for.
        layers: r.
        anchor: What the member signed.

    Raises:
        RemoteProtocolError: The link does not lead to the anchor.
    """
    keys = []
    if len(link) != KEY_BYTES or not 1 <= first <= layers:
        raise RemoteProtocolError("there is no such layer to be taken back")
    for layer in range(first, layers + 1):
        keys.append(_key(link, layer))
        link = _next(link, layer)
    if link != anchor:
        raise RemoteProtocolError("the revealed key of a noise layer is not the promised one")
    return tuple(keys)


def _key(link: bytes, layer: int) -> bytes:
    return derive_key(link, label=LAYER_LABEL, context=index_bytes(layer))


def _next(link: bytes, layer: int) -> bytes:
    return derive_key(link, label=LINK_LABEL, context=index_bytes(layer))
