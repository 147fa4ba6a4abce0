"""Identity keys that follow from a name: the same in every test and in every run of it."""

from securefl_protocols.primitives.entropy import DeterministicEntropy
from securefl_protocols.primitives.signing import SigningKey

NAMES = ("north", "south", "west", "east", "centre")


def key_of(name, generation=0):
    seed = f"{name} {generation}".encode().ljust(32, b".")
    return SigningKey.generate(DeterministicEntropy(seed))
