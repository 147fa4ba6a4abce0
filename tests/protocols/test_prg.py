"""Mask expansion: exact, and the same whatever the chunk, the threads and the order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl_protocols.primitives import prg
from securefl_protocols.primitives.errors import LocalProtocolError

KEYS = [bytes([number]) * 32 for number in range(1, 6)]
MASKS = [(key, 1 if number % 2 else -1) for number, key in enumerate(KEYS)]


def reference(vector, masks):
    """Adds masks as Python integers, from whole keystreams."""
    width = vector.itemsize
    values = [int(value) for value in vector]
    for key, sign in masks:
        stream = prg._keystream(key, 0).update(bytes(vector.nbytes))
        for at in range(len(values)):
            word = int.from_bytes(stream[at * width : (at + 1) * width], "little")
            values[at] = (values[at] + sign * word) % (1 << 8 * width)
    return values


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(0, 700),
    dtype=st.sampled_from(["<u4", "<u8"]),
    chunk=st.sampled_from([16, 48, 256, 4096]),
    threads=st.integers(1, 5),
    masks=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from([1, -1])), max_size=4),
)
def test_same_result_for_every_chunk_and_number_of_threads(size, dtype, chunk, threads, masks):
    start = np.random.default_rng(size).integers(0, 2**32, size).astype(dtype)
    vector = start.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prg, "_SMALLEST_CHUNK", chunk)
        patch.setattr(prg, "_LARGEST_CHUNK", chunk)
        prg.add_many(vector, masks, threads=threads)
    assert vector.tolist() == reference(start, masks)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [65_537, 300_001])
def test_threads_and_real_chunks_agree_with_single_masks(threads, size):
    together = np.zeros(size, dtype=np.uint32)
    prg.add_many(together, MASKS, threads=threads)
    one_by_one = np.zeros(size, dtype=np.uint32)
    for key, sign in reversed(MASKS):
        stream = prg._keystream(key, 0).update(bytes(4 * size))
        words = np.frombuffer(stream, dtype="<u4")
        one_by_one = one_by_one + words if sign == 1 else one_by_one - words
    assert np.array_equal(together, one_by_one)


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
def test_what_is_added_can_be_taken_away(dtype):
    start = np.arange(1000).astype(dtype) * 4_294_967
    vector = start.copy()
    prg.add_keystream(vector, KEYS[0], 1)
    assert not np.array_equal(vector, start)
    prg.add_keystream(vector, KEYS[0], -1)
    assert np.array_equal(vector, start)


def test_a_mask_looks_uniform_and_keys_are_unrelated():
    one, other = np.zeros((2, 50_000), dtype=np.uint32)
    prg.add_keystream(one, KEYS[0], 1)
    prg.add_keystream(other, KEYS[1], 1)
    assert np.unique(one).size > 49_990
    for bit in range(32):
        assert abs((one >> bit & 1).mean() - 0.5) < 0.02
        assert abs(((one ^ other) >> bit & 1).mean() - 0.5) < 0.02


def test_memory_does_not_grow_with_the_masks():
    import tracemalloc

    vector = np.zeros(1_000_000, dtype=np.uint32)
    peaks = []
    for count in (2, 40):
        masks = [(bytes([number]) * 32, 1) for number in range(count)]
        tracemalloc.start()
        prg.add_many(vector, masks)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 0.4 * vector.nbytes
    assert peaks[1] - peaks[0] < 40_000


@pytest.mark.parametrize(
    ("vector", "masks", "threads"),
    [
        (np.zeros(4, dtype=np.int32), MASKS, 1),
        (np.zeros(4, dtype=">u4"), MASKS, 1),
        (np.zeros((2, 2), dtype=np.uint32), MASKS, 1),
        (np.zeros(8, dtype=np.uint32)[::2], MASKS, 1),
        (np.frombuffer(bytes(16), dtype=np.uint32), MASKS, 1),
        (np.zeros(4, dtype=np.uint32), [(bytes(16), 1)], 1),
        (np.zeros(4, dtype=np.uint32), [(bytes(32), 2)], 1),
        (np.zeros(4, dtype=np.uint32), MASKS, 0),
    ],
)
def test_what_cannot_be_masked_in_place_is_refused(vector, masks, threads):
    before = vector.tobytes()
    with pytest.raises(LocalProtocolError):
        prg.add_many(vector, masks, threads=threads)
    assert vector.tobytes() == before
