"""Integer noise: exact samples a second on one core, beside what others do in the same run.

Beside ours: the keystream alone (nobody who uses as many words can be faster), the rejection
sampler of Canonne, Kamath and Steinke 2020 written out in Python integers as their algorithms 1
to 3 say, and numpy's inexact samplers from a generator that is not cryptographic.
"""

import os
import secrets
from collections.abc import Callable
from fractions import Fraction
from itertools import count

import numpy as np

from harness import Row, interleaved, main
from securefl_protocols.noise.discrete_gaussian import DiscreteGaussian
from securefl_protocols.noise.skellam import Skellam
from securefl_protocols.noise.words import UniformWords

DEVIATIONS = (1, 30, 1000, 1 << 16, 1 << 20)
LAWS = {"skellam": Skellam, "discrete gaussian": DiscreteGaussian}


def benchmark(quick: bool) -> list[Row]:
    size = 200_000 if quick else 2_000_000
    rows = [sampler(name, sigma, size) for name in LAWS for sigma in DEVIATIONS]
    rows += [setup(name, sigma) for name in LAWS for sigma in (1000, 1 << 20)]
    return rows + peers(1000, size)


def sampler(name: str, sigma: int, size: int) -> Row:
    """One law, one core, the keystream included."""
    noise, out = LAWS[name](sigma**2), np.empty(size, dtype=np.int64)
    cases = {
        "ours": lambda: noise.fill(UniformWords(os.urandom(32)), out),
        "keystream": lambda: UniformWords(os.urandom(32)).fill(out),
    }
    seconds = interleaved(cases, 7)
    return Row(
        f"{name} sigma={sigma}",
        {
            "samples_per_second": size / seconds["ours"],
            "keystream_words_per_second": size / seconds["keystream"],
        },
    )


def setup(name: str, sigma: int) -> Row:
    """Making the tables, once for a run."""
    seconds = interleaved({"setup": lambda: LAWS[name](sigma**2)}, 3)["setup"]
    return Row(f"tables of {name} sigma={sigma}", {"cpu_seconds": seconds})


def peers(sigma: int, size: int) -> list[Row]:
    """Other samplers of the same laws; two of them are not exact."""
    generator = np.random.default_rng(0)
    few = 2_000
    cases: dict[str, tuple[int, Callable[[], object]]] = {
        "rejection in Python integers, discrete gaussian": (
            few,
            lambda: [by_rejection(sigma) for _ in range(few)],
        ),
        "numpy Poisson difference, inexact": (
            size,
            lambda: generator.poisson(sigma**2 / 2, size) - generator.poisson(sigma**2 / 2, size),
        ),
        "numpy normal rounded, inexact": (
            size,
            lambda: np.rint(generator.normal(0, sigma, size)).astype(np.int64),
        ),
    }
    seconds = interleaved({name: case for name, (_, case) in cases.items()}, 5)
    return [
        Row(f"{name} sigma={sigma}", {"samples_per_second": cases[name][0] / seconds[name]})
        for name in cases
    ]


def by_rejection(sigma: int) -> int:
    """One discrete Gaussian: a discrete Laplace, accepted with the ratio of the laws."""
    scale = sigma + 1
    while True:
        value = discrete_laplace(scale)
        gap = abs(value) - Fraction(sigma**2, scale)
        if bernoulli_exp(gap**2 / (2 * sigma**2)):
            return value


def discrete_laplace(scale: int) -> int:
    while True:
        low = secrets.randbelow(scale)
        if not bernoulli_exp(Fraction(low, scale)):
            continue
        high = next(turn for turn in count() if not bernoulli_exp(Fraction(1)))
        negative, magnitude = secrets.randbelow(2), low + scale * high
        if magnitude or not negative:
            return -magnitude if negative else magnitude


def bernoulli_exp(exponent: Fraction) -> bool:
    """True with probability exp(-exponent)."""
    while exponent > 1:
        if not bernoulli_exp(Fraction(1)):
            return False
        exponent -= 1
    for turn in count(1):
        if secrets.randbelow(turn * exponent.denominator) >= exponent.numerator:
            return turn % 2 == 1
    raise AssertionError


if __name__ == "__main__":
    main("Integer noise", benchmark)
