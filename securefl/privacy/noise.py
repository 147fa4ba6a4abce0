"""Gaussian noise from a key stream by the transform of Box and Muller (1958).

Two independent standard normals are the point at radius sqrt(-2 ln u) and a uniform angle. The
radius comes from 62 random bits in float64: torch's float32 `normal_` draws 24 bits, and so never
goes beyond 5.77 standard deviations; here the tail ends at 9.35, past which a normal falls once
in 10^20 draws. Nothing is rejected, so that the time taken tells nothing about the noise.
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
Int32 = npt.NDArray[np.int32]

CHUNK = 32768
"""Normals made at a time: the buffers then stay in the second-level cache."""

_PAIRS = CHUNK // 2
# Raised by a few ulps, so that rounding in the logarithm never leaves a negative radicand.
_LOG_RANGE = 63 * math.log(2) * (1 + 2**-50)
_SIGN32 = np.int32(-(2**31))
# sin x = x (1 + a x^2 + b x^4 + c x^6), within 2^-24 on |x| <= pi/4 (Cephes `sinf`, Moshier 1989);
# times sqrt 2, which the radius then need not be multiplied with.
_SINE = tuple(
    np.float32(math.sqrt(2) * c) for c in (1, -1.6666654611e-1, 8.3321608736e-3, -1.9515295891e-4)
)


class GaussianNoise:
    """Independent normals from one member's key stream.

    Args:
        stream: Where the random bits come from.
    """

    def __init__(self, stream: KeyStream) -> None:
        self.stream = stream
        self._words: Words = np.empty(2 * _PAIRS, dtype=np.int64)
        self._radicand: Float64 = np.empty(_PAIRS)
        self._angle: Float64 = np.empty(_PAIRS)
        self._scratch: Float32 = np.empty((5, _PAIRS), dtype=np.float32)
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

    def _draw(self, pairs: int) -> tuple[Words, Words, Float64]:
        """Radius words, angle words and -ln u, each [pairs].

        The 62 middle bits m of a radius word make u = (2m + 1) / 2^63, which is never 0; its first
        and last bit are left for the signs and the order.
        """
        words = self._words[: 2 * pairs]
        self.stream.fill(words)
        radius, angle = words[:pairs], words[pairs:]
        radicand = self._radicand[:pairs]
        integers = radicand.view(np.int64)
        np.bitwise_or(radius, 1, out=integers)
        np.copyto(radicand, integers, casting="unsafe")
        np.abs(radicand, out=radicand)
        # torch's float64 logarithm, sine and cosine are vectorised on every CPU, numpy's are not.
        tensor = torch.from_numpy(radicand)
        torch.log(tensor, out=tensor)
        np.subtract(_LOG_RANGE, radicand, out=radicand)
        return radius, angle, radicand

    def _fill64(self, pairs: int) -> None:
        """Cosine and sine of a 64-bit angle over the full circle, all in float64."""
        _, words, radicand = self._draw(pairs)
        np.multiply(radicand, 2.0, out=radicand)
        np.sqrt(radicand, out=radicand)
        angle = self._angle[:pairs]
        np.copyto(angle, words, casting="unsafe")
        np.multiply(angle, math.pi / 2**63, out=angle)
        turn, radius = torch.from_numpy(angle), torch.from_numpy(radicand)
        torch.cos(turn, out=self._out64[:pairs])
        torch.sin(turn, out=self._out64[pairs : 2 * pairs])
        self._out64[: 2 * pairs].view(2, pairs).mul_(radius)

    def _fill32(self, pairs: int) -> None:
        """The float64 point rounded to float32, both coordinates to within 4 ulp.

        The angle is drawn in the eighths next to the axis, where the sine loses no relative
        precision; two spare bits of the radius word then choose among the four rotations by sign
        and order, which gives the full circle.
        """
        words, angle_words, radicand = self._draw(pairs)
        radius, angle, square, sine, cosine = self._scratch[:, :pairs]
        np.copyto(radius, radicand, casting="same_kind")
        np.sqrt(radius, out=radius)
        np.copyto(angle, angle_words, casting="unsafe")
        np.multiply(angle, np.float32(math.pi / 4 / 2**63), out=angle)
        _sine_cosine(angle, square, sine, cosine)
        first = self._out32[:pairs].numpy()
        second = self._out32[pairs : 2 * pairs].numpy()
        np.multiply(cosine, radius, out=first)
        np.multiply(sine, radius, out=second)
        _rotate(words, first.view(np.int32), second.view(np.int32), square.view(np.int32))


def _sine_cosine(angle: Float32, square: Float32, sine: Float32, cosine: Float32) -> None:
    """Sine and cosine, times sqrt 2, of float32 [n] in [-pi/4, pi/4]."""
    one, a, b, c = _SINE
    np.multiply(angle, angle, out=square)
    np.multiply(square, c, out=sine)
    for coefficient in (b, a, one):
        np.add(sine, coefficient, out=sine)
        np.multiply(sine, angle if coefficient is one else square, out=sine)
    np.multiply(sine, sine, out=square)
    np.subtract(np.float32(2), square, out=cosine)
    np.sqrt(cosine, out=cosine)


def _rotate(words: Words, first: Int32, second: Int32, scratch: Int32) -> None:
    """Flip the sign of `first` by the words' first bit, and swap the two by their last bit.

    With an angle in [-pi/4, pi/4], which is symmetric about 0, these are the four rotations by a
    right angle; on bit patterns, without a branch.
    """
    halves = words.view(np.int32)
    last = 1 if np.little_endian else 0
    np.bitwise_and(halves[last::2], _SIGN32, out=scratch)
    np.bitwise_xor(first, scratch, out=first)
    np.left_shift(halves[1 - last :: 2], 31, out=scratch)
    np.right_shift(scratch, 31, out=scratch)
    difference = np.bitwise_xor(first, second)
    np.bitwise_and(difference, scratch, out=difference)
    np.bitwise_xor(first, difference, out=first)
    np.bitwise_xor(second, difference, out=second)
