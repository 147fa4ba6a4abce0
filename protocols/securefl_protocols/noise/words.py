"""Where noise takes its random words from: any stream of uniform 64-bit words.

A member's own noise comes from a stream that its operating system keyed. Noise that others must
be able to draw again comes from a `UniformWords` of a key that they are given.
"""

from typing import Protocol, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from securefl_protocols.primitives.errors import LocalProtocolError

Int64Vector: TypeAlias = NDArray[np.int64]

NOISE_KEY_BYTES = 32
_ZEROS = memoryview(bytes(1 << 15))


class UniformWordSource(Protocol):
    """A stream of independent words, each uniform over all 64 bits."""

    def fill(self, words: Int64Vector) -> None:
        """Overwrite `words` (contiguous int64 [n]) with the next n words."""


class UniformWords:
    """The AES-256-CTR keystream of a key (NIST SP 800-38A, section 6.5) from counter zero.

    Two streams of one key are equal, so a key serves one vector.
    """

    def __init__(self, key: bytes) -> None:
        """Start the stream.

        Args:
            key: 32 bytes.

        Raises:
            LocalProtocolError: The key has another length.
        """
        if len(key) != NOISE_KEY_BYTES:
            raise LocalProtocolError("a noise key has 32 bytes")
        self._stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def fill(self, words: Int64Vector) -> None:
        """Overwrite `words` (contiguous int64 [n]) with the next n words."""
        view = words.view(np.uint8).data
        for start in range(0, len(view), len(_ZEROS)):
            part = view[start : start + len(_ZEROS)]
            self._stream.update_into(_ZEROS[: len(part)], part)
