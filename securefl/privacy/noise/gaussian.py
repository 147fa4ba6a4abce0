"""Gaussian noise from a CSPRNG by the transform of Box and Muller (1958).

Two independent standard normals are the point at radius sqrt(-2 ln u) and a uniform angle. The
radius, and with it the tail, comes from 63 random bits in float64: torch's float32 `normal_` draws
24, and so never goes beyond 5.77 standard deviations; here the tail ends at 9.42, past which a
normal falls once in 10^20 draws. Nothing is rejected, so that the number of words used does not
depend on the values drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from securefl.privacy.noise.csprng import AesCtrRng, Words

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

CHUNK = 1 << 17
"""Normals made at a time: 1.5 MiB of buffers, enough that the calls cost little."""

_PAIRS = CHUNK // 2
_ANGLE = math.pi / 2**63
_ANGLE32 = np.float32(2.0**-31)
_MINUS_TWO = np.float32(-2)

_COSINE = (
    0.9999999530275128,
    -1.2336982006223671,
    0.2536506744226805,
    -0.020810515199839705,
    0.0008581344671107911,
)
"""Of x^0, x^2, ...: cos(pi x / 2) within 5e-8 on [-1, 1]; interpolated at Chebyshev nodes."""
_SINE = (
    1.5707963200386015,
    -0.6459637595835398,
    0.07968991832903384,
    -0.0046741438381647325,
    0.00015167170367294116,
)
"""Of x^1, x^3, ...: sin(pi x / 2) within 7e-9 on [-1, 1], in the same way."""


class GaussianNoise:
    """Independent normals from one member's CSPRNG.

    Args:
        stream: Source of the random bits.
    """

    def __init__(self, stream: AesCtrRng) -> None:
        self.stream = stream
        self._words: Words = np.empty(_PAIRS, dtype=np.int64)
        self._singles: Float32 = np.empty((2, _PAIRS), dtype=np.float32)
        self._buffers = {
            dtype: torch.empty(CHUNK, dtype=dtype) for dtype in (torch.float32, torch.float64)
        }

    def standard(self, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return fresh standard normals (Box and Muller 1958).

        Args:
            count: Number of normals.
            dtype: torch.float32 or torch.float64.

        Returns:
            A tensor [count].
        """
        out = torch.empty(count, dtype=dtype)
        whole = count - count % CHUNK if dtype in self._buffers else 0
        for start in range(0, whole, CHUNK):
            self._fill(out[start : start + CHUNK])
        for part in self._parts(count - whole, dtype):
            out[whole:] = part
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
        """Yield normals in pieces of at most CHUNK, each valid until the next one is taken."""
        if dtype not in self._buffers:
            raise TypeError(f"noise is float32 or float64, not {dtype}")
        buffer = self._buffers[dtype]
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            # Box-Muller makes pairs: of an odd number the last normal is drawn and not used.
            self._fill(buffer[: size + size % 2])
            yield buffer[:size]

    def _fill(self, out: Tensor) -> None:
        """Overwrite `out` ([2n], 2n <= CHUNK) with normals: n cosines, then their n sines."""
        pairs = len(out) // 2
        logarithm = self._log_uniform(pairs)
        if out.dtype == torch.float32:
            self._points32(logarithm, out.numpy().reshape(2, pairs))
        else:
            self._points64(logarithm, out.view(2, pairs))

    def _log_uniform(self, pairs: int) -> Float64:
        """Return ln u of new words, float64 [pairs]; u = (2m + 1) / 2^64 with m of 63 bits."""
        words = self._words[:pairs]
        self.stream.fill(words)
        np.right_shift(words.view(np.uint64), np.uint64(1), out=words.view(np.uint64))
        uniform = words.view(np.float64)  # in place: what does not fit the cache costs more
        torch.from_numpy(uniform).copy_(torch.from_numpy(words))
        np.multiply(uniform, 2.0**-63, out=uniform)
        np.add(
            uniform, 2.0**-64, out=uniform
        )  # half a step up: u is never 0, nor its logarithm -inf
        # torch's float64 logarithm is vectorised on every CPU, numpy's is not.
        tensor = torch.from_numpy(uniform)
        torch.log(tensor, out=tensor)
        return uniform

    def _points64(self, logarithm: Float64, out: Tensor) -> None:
        """Write the points with both coordinates in float64."""
        radius = torch.from_numpy(np.sqrt(-2.0 * logarithm))
        words = self._words[: len(radius)]
        self.stream.fill(words)
        angle = torch.from_numpy(words * _ANGLE)
        torch.cos(angle, out=out[0])
        torch.sin(angle, out=out[1])
        out.mul_(radius)

    def _points32(self, logarithm: Float64, out: Float32) -> None:
        """Write the points in float32, within 2^-21 of their radius.

        The radius is computed in float64 and rounded. An angle of the right half circle is x pi / 2
        with x of 32 bits, the lowest of which also says whether the point is mirrored.
        """
        pairs = len(logarithm)
        radius, x = self._singles[:, :pairs]
        np.copyto(radius, logarithm, casting="same_kind")
        np.multiply(radius, _MINUS_TWO, out=radius)
        np.sqrt(radius, out=radius)
        self.stream.fill(self._words[: (pairs + 1) // 2])
        angle = self._words.view(np.int32)[:pairs]
        np.copyto(x, angle, casting="unsafe")
        np.multiply(x, _ANGLE32, out=x)
        np.left_shift(angle, 31, out=angle)
        np.bitwise_xor(radius.view(np.int32), angle, out=radius.view(np.int32))
        square = self._words.view(np.float32)[_PAIRS : _PAIRS + pairs]  # the half without angles
        np.multiply(x, x, out=square)
        _polynomial(_COSINE, square, out[0])
        _polynomial(_SINE, square, out[1])
        np.multiply(out[1], x, out=out[1])
        np.multiply(out, radius, out=out)


def _polynomial(coefficients: Sequence[float], x: Float32, out: Float32) -> None:
    """Evaluate a polynomial at each x by Horner's scheme, coefficients from the lowest up."""
    *below, leading = (np.float32(coefficient) for coefficient in coefficients)
    np.multiply(x, leading, out=out)
    np.add(out, below[-1], out=out)
    for coefficient in reversed(below[:-1]):
        np.multiply(out, x, out=out)
        np.add(out, coefficient, out=out)
