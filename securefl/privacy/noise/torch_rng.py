"""Torch's random generator, seeded with its full state from a member's CSPRNG."""

from __future__ import annotations

import struct
from typing import Final

import torch

from securefl.privacy.noise.csprng import AesCtrRng

_WORDS: Final = 624
"""Words of the Mersenne Twister's state (Matsumoto and Nishimura 1998), 32 bits each."""


def seed_torch_rng(stream: AesCtrRng) -> None:
    """Fill the whole state of torch's CPU generator from a member's stream.

    Which of a customer's purchases a step sees, and which units dropout zeroes, are random draws
    that privacy depends on as well. A seed would give them 32 secret bits, however long it is; this
    gives 19,937.

    Raises:
        RuntimeError: If torch keeps its state in another form than the one that is filled here.
    """
    head = struct.Struct("<QiiQ")
    state = bytearray(torch.get_rng_state().numpy().tobytes())
    seed, _, seeded, _ = head.unpack_from(state)
    words = stream.words(_WORDS).view("<u8") >> 32
    head.pack_into(state, 0, seed, 1, seeded, 0)
    state[head.size : head.size + 8 * _WORDS] = words.astype("<u8").tobytes()
    torch.set_rng_state(torch.frombuffer(state, dtype=torch.uint8))
    # The layout is torch's own and may change with a version: a state that was silently ignored
    # would leave the draws to a public seed.
    if not _is_filled(words.tolist()):
        raise RuntimeError("torch keeps the state of its generator in a form that is not known")


def _is_filled(words: list[int]) -> bool:
    """Return whether the generator's next word is that of this state; leave it as it is."""
    kept = torch.get_rng_state()
    found = float(torch.rand(1, dtype=torch.float32))
    torch.set_rng_state(kept)
    return found == (_first_word(words) & 0xFFFFFF) / (1 << 24)


def _first_word(words: list[int]) -> int:
    """Return the first output of MT19937 after its state was written.

    The recurrence and tempering of Matsumoto and Nishimura 1998.
    """
    mixed = (words[0] & 0x80000000) | (words[1] & 0x7FFFFFFF)
    word = words[397] ^ (mixed >> 1) ^ (0x9908B0DF if words[1] & 1 else 0)
    word ^= word >> 11
    word ^= (word << 7) & 0x9D2C5680
    word ^= (word << 15) & 0xEFC60000
    return (word ^ (word >> 18)) & 0xFFFFFFFF
