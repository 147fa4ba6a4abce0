"""Writes the committed vectors of integer noise.

    PYTHONPATH=tests python -m protocols.generate.noise

The words are the AES-256-CTR keystream of the key from counter zero. `values` are the first
draws of a vector of `count`, and `digest` is the SHA-256 of all of them as little-endian int64.
`noise_bad_parameters.json` holds what a sampler must refuse.
"""

import json
import sys
from fractions import Fraction
from hashlib import sha256

import numpy as np

from securefl_protocols.noise.discrete_gaussian import DiscreteGaussian
from securefl_protocols.noise.skellam import Skellam
from securefl_protocols.noise.words import UniformWords
from support.paths import VECTOR_FOLDER

KEY = sha256(b"securefl test vectors: noise").digest()
LAWS = {"discrete gaussian": DiscreteGaussian, "skellam": Skellam}
VARIANCES = ("1/3", "4", "10000", "1048577", "1000000000/3", "1099511627776")
COUNT = 20_000


def draw(law, variance, key, count):
    out = np.empty(count, dtype=np.int64)
    LAWS[law](Fraction(variance)).fill(UniformWords(key), out)
    return out


def noise():
    cases = []
    for law in LAWS:
        for variance in VARIANCES:
            out = draw(law, variance, KEY, COUNT)
            cases.append(
                {
                    "law": law,
                    "variance": variance,
                    "key": KEY.hex(),
                    "count": COUNT,
                    "values": out[:12].tolist(),
                    "digest": sha256(out.astype("<i8").tobytes()).hexdigest(),
                }
            )
    return {"cases": cases}


def noise_bad_parameters():
    cases = [
        ("no variance", "0"),
        ("a negative variance", "-4"),
        ("less than the least variance", "1/1048577"),
        ("more than the largest variance", "17592186044417"),
    ]
    return {
        "cases": [
            {"why": f"{why}, {law}", "law": law, "variance": variance}
            for law in LAWS
            for why, variance in cases
        ]
    }


def files():
    made = (noise, noise_bad_parameters)
    return {f"{make.__name__}.json": json.dumps(make(), indent=1) + "\n" for make in made}


if __name__ == "__main__":
    for name, text in files().items():
        (VECTOR_FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{name}\n")
