"""Gaussian noise from a key stream by the transform of Box and Muller (1958).

Two independent standard normals are the point at radius sqrt(-2 ln u) and a uniform angle. The
radius, and with it the tail, comes from 62 random bits in float64: torch's float32 `normal_` draws
24, and so never goes beyond 5.77 standard deviations; here the tail ends at 9.34, past which a
normal falls once in 10^20 draws. Nothing is rejected, so that the time taken tells nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from securefl.privacy.keystream import KeyStream, Words

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

CHUNK = 1 << 17
"""Normals made at a time: 2 MiB of buffers, enough that the calls cost little."""

_PAIRS = CHUNK // 2
_ANGLE = math.pi / 2**63
_ANGLE32 = np.float32(math.pi / 2**31)


class GaussianNoise:
    """Independent normals from one member's key stream.

    Args:
        stream: Where the random bits come from.
    """

    def __init__(self, stream: KeyStream) -> None:
        self.stream = stream
        self._words: Words = np.empty(_PAIRS, dtype=np.int64)
        self._doubles: Float64 = np.empty(_PAIRS)
        self._singles: Float32 = np.empty((2, _PAIRS), dtype=np.float32)
        self._out32 = torch.empty(CHUNK, dtype=torch.float32)
        self._out64 = torch.empty(CHUNK, dtype=torch.float64)

    def standard(self, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Fresh standard normals.

        Args:
            count: How many.
            dtype: torch.float32 or torch.float64.

        Returns:
            A tensor [count].
        """
        out = torch.empty(count, dtype=dtype)
        start = 0
        for part in self._parts(count, dtype):
            out[start : start + len(part)] = part
            start += len(part)
        return out

    def add_(self, tensors: Sequence[Tensor], std: float) -> None:
        """Add independent normals of standard deviation `std` to every coordinate, in place.

        The tensors (contiguous, of one dtype, float32 or float64) share one run of the generator,
        so that many small ones cost no more than one large one.
        """
        if not tensors:
            return
        flats = [tensor.view(-1) for tensor in tensors]
        parts = self._parts(sum(len(flat) for flat in flats), flats[0].dtype)
        part = next(parts, None)
        for flat in flats:
            done = 0
            while done < len(flat):
                assert part is not None
                step = min(len(part), len(flat) - done)
                flat[done : done + step].add_(part[:step], alpha=std)
                done += step
                part = part[step:] if step < len(part) else next(parts, None)

    def _parts(self, count: int, dtype: torch.dtype) -> Iterator[Tensor]:
        """Normals in pieces of at most CHUNK, each valid until the next is asked for."""
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            pairs = -(-size // 2)
            if dtype == torch.float32:
                self._fill32(pairs)
                yield self._out32[:size]
            elif dtype == torch.float64:
                self._fill64(pairs)
                yield self._out64[:size]
            else:
                raise TypeError(f"noise is float32 or float64, not {dtype}")

    def _log_uniform(self, words: Words) -> Float64:
        """Ln u of new words, float64 [pairs], u = (2m + 1) / 2^63 with m of 62 bits, never 0."""
        self.stream.fill(words)
        np.bitwise_or(words, 1, out=words)
        uniform = self._doubles[: len(words)]
        np.multiply(words, 2.0**-63, out=uniform)
        np.abs(uniform, out=uniform)
        # torch's float64 logarithm is vectorised on every CPU, numpy's is not.
        tensor = torch.from_numpy(uniform)
        torch.log(tensor, out=tensor)
        return uniform

    def _fill64(self, pairs: int) -> None:
        """The point with both coordinates in float64."""
        words = self._words[:pairs]
        radius = torch.from_numpy(np.sqrt(-2.0 * self._log_uniform(words)))
        self.stream.fill(words)
        np.multiply(words, _ANGLE, out=self._doubles[:pairs])
        angle = torch.from_numpy(self._doubles[:pairs])
        out = self._out64[: 2 * pairs].view(2, pairs)
        torch.cos(angle, out=out[0])
        torch.sin(angle, out=out[1])
        out.mul_(radius)

    def _fill32(self, pairs: int) -> None:
        """The point in float32, within 2^-21 of its radius.

        The radius is computed in float64 and rounded; a float32 angle has 24 bits, so it is drawn
        from 32.
        """
        words = self._words[:pairs]
        radius, angle = self._singles[0, :pairs], self._singles[1, :pairs]
        np.copyto(radius, self._log_uniform(words), casting="same_kind")
        np.multiply(radius, np.float32(-2), out=radius)
        np.sqrt(radius, out=radius)
        self.stream.fill(words[: (pairs + 1) // 2])
        np.copyto(angle, words.view(np.int32)[:pairs], casting="unsafe")
        np.multiply(angle, _ANGLE32, out=angle)
        turn = torch.from_numpy(angle)
        out = self._out32[: 2 * pairs].view(2, pairs)
        torch.cos(turn, out=out[0])
        torch.sin(turn, out=out[1])
        out.mul_(torch.from_numpy(radius))
