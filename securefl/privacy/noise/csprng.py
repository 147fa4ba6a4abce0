"""CSPRNG for every draw that privacy depends on: AES-256 in counter mode, keyed by the system.

One generator belongs to one member. It cannot be copied, pickled or used after a fork, because two
holders of one key would add the same noise, which anyone who sees both releases can subtract.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any, NoReturn, Self

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from securefl.config.privacy import PrivacySettings


def member_stream(settings: PrivacySettings, member: str, purpose: str | int) -> AesCtrRng:
    """Return a generator keyed by the operating system, or a test one that protects no unit."""
    seed = settings.insecure_testing_seed
    if seed is None:
        return AesCtrRng()
    text = f"{seed}/{member}/{purpose}"
    return AesCtrRng.insecure_for_tests(hashlib.sha256(text.encode()).digest())


Words = npt.NDArray[np.int64]

KEY_BYTES = 32
_WORD_BYTES = 8
_ZEROS = memoryview(bytes(1 << 15))  # stays in the first-level cache


class AesCtrRng:
    """AES-256-CTR (FIPS 197, NIST SP 800-38A) as a stream of 64-bit words.

    The key is fresh from the operating system and the counter starts at zero, so that every object
    has a stream of its own; 2^128 blocks are never exhausted.
    """

    def __init__(self) -> None:
        self._cipher = _counter_mode(os.urandom(KEY_BYTES))
        self._deterministic = False
        self._process = os.getpid()

    @classmethod
    def insecure_for_tests(cls, key: bytes) -> Self:
        """Return a stream that `key` determines. FOR TESTS ONLY: IT PROTECTS NOTHING.

        `is_deterministic` is true for it, and a ledger records that.

        Raises:
            ValueError: If the key is not 32 bytes long.
        """
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key has {len(key)} bytes, not {KEY_BYTES}")
        stream = cls()
        stream._cipher = _counter_mode(key)
        stream._deterministic = True
        return stream

    @property
    def is_deterministic(self) -> bool:
        """Whether the stream was made from a given key, so that its noise protects no unit."""
        return self._deterministic

    @property
    def description(self) -> str:
        """The source of randomness as ledger entries record it."""
        return "AES-256-CTR, TEST KEY" if self._deterministic else "AES-256-CTR, system key"

    def fill(self, words: Words) -> None:
        """Overwrite `words` (contiguous int64 [n]) with the next n words, uniform on all 64 bits.

        Raises:
            RuntimeError: If the process was forked since the stream was made.
        """
        if os.getpid() != self._process:
            raise RuntimeError("a key stream does not survive a fork: both sides would share it")
        view = words.view(np.uint8).data
        for start in range(0, len(view), len(_ZEROS)):
            part = view[start : start + len(_ZEROS)]
            self._cipher.update_into(_ZEROS[: len(part)], part)

    def words(self, count: int) -> Words:
        """Return the next `count` words, int64 [count]."""
        words = np.empty(count, dtype=np.int64)
        self.fill(words)
        return words

    def __repr__(self) -> str:
        return f"KeyStream({self.description})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key stream cannot be pickled or copied: its noise would repeat")

    def __copy__(self) -> NoReturn:
        self.__reduce__()

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        self.__reduce__()


def _counter_mode(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
