"""Where randomness comes from: always from the caller, never from this package."""

from collections.abc import Callable
from typing import TypeAlias

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from securefl_protocols.primitives.errors import LocalProtocolError

Entropy: TypeAlias = Callable[[int], bytes]
"""Given a number of bytes, returns that many; production passes `os.urandom`."""


def draw(entropy: Entropy, length: int) -> bytes:
    """Draw bytes, and refuses a source that returns fewer or more than asked.

    Args:
        entropy: The caller's source.
        length: Number of bytes.

    Raises:
        LocalProtocolError: The source returned another number of bytes.
    """
    drawn = entropy(length)
    if len(drawn) != length:
        raise LocalProtocolError(f"entropy returned {len(drawn)} bytes instead of {length}")
    return drawn


class DeterministicEntropy:
    """FOR TEST VECTORS AND TESTS ONLY: whoever knows the seed knows every secret.

    The stream is the AES-256-CTR keystream of the seed (NIST SP 800-38A, section 6.5) from
    counter block zero, so that a second implementation can reproduce the vectors.
    """

    def __init__(self, seed: bytes) -> None:
        """Start the stream.

        Args:
            seed: 32 bytes, the AES key.

        Raises:
            LocalProtocolError: The seed has another length.
        """
        if len(seed) != 32:
            raise LocalProtocolError("the seed of deterministic entropy has 32 bytes")
        self._stream = Cipher(algorithms.AES256(seed), modes.CTR(bytes(16))).encryptor()

    def __call__(self, length: int) -> bytes:
        """Return the next `length` bytes of the stream."""
        return self._stream.update(bytes(length))
