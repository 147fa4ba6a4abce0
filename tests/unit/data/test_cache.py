"""The cache saves time or does nothing; it never changes or stops a run."""

import logging
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from securefl.data import cache
from securefl.data.cache import KEPT, cache_folder, cached, digest

TABLE = pd.DataFrame(
    {
        "product": pd.Series([1, 2], dtype="int64"),
        "brand": ["", "é"],
        "time": pd.to_datetime(["2017-01-02 00:00", "2017-01-03 12:00"]).astype("datetime64[ns]"),
        "share": pd.Series([0.1, 1.0], dtype="float32"),
        "display": [True, False],
    }
)


def refuse():
    raise AssertionError("the stored table was not used")


def test_the_second_call_reads_what_the_first_stored():
    assert_frame_equal(cached("table", "ab" * 32, TABLE.copy), TABLE)
    assert_frame_equal(cached("table", "ab" * 32, refuse), TABLE)


def test_another_key_is_another_table():
    cached("table", "ab" * 32, TABLE.copy)
    assert len(cached("table", "cd" * 32, lambda: TABLE.iloc[:1])) == 1


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"PAR1nonsensePAR1"])
def test_a_damaged_entry_is_rebuilt(damage, own_cache, caplog):
    cached("table", "ab" * 32, TABLE.copy)
    (entry,) = own_cache.iterdir()
    entry.write_bytes(damage)
    assert_frame_equal(cached("table", "ab" * 32, TABLE.copy), TABLE)
    assert "is damaged" in caplog.text
    assert_frame_equal(cached("table", "ab" * 32, refuse), TABLE)


@pytest.mark.parametrize("place", [1 / 3, 2 / 3, -40, -20, -1])
def test_a_flipped_bit_is_noticed(place, own_cache, caplog):
    """In the values, and in what Arrow says of them, the key and the tag at the end."""
    table = pd.DataFrame({"value": range(10_000)}, dtype="int64")
    cached("table", "ab" * 32, table.copy)
    (entry,) = own_cache.iterdir()
    content = bytearray(entry.read_bytes())
    content[int(len(content) * place) if place > 0 else place] ^= 1
    entry.write_bytes(content)
    assert_frame_equal(cached("table", "ab" * 32, table.copy), table)
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("left", [20, 1000, -1])
def test_a_cut_off_entry_is_rebuilt(left, own_cache, caplog):
    cached("table", "ab" * 32, TABLE.copy)
    (entry,) = own_cache.iterdir()
    entry.write_bytes(entry.read_bytes()[:left])
    assert_frame_equal(cached("table", "ab" * 32, TABLE.copy), TABLE)
    assert "is damaged" in caplog.text


def test_a_folder_that_cannot_be_written_is_a_line_in_the_log(own_cache, caplog):
    own_cache.write_text("a file where the folder should be")
    with caplog.at_level(logging.INFO, "securefl.data.cache"):
        assert_frame_equal(cached("table", "ab" * 32, TABLE.copy), TABLE)
    assert "not cached" in caplog.text


def test_a_failed_build_leaves_nothing(own_cache):
    with pytest.raises(AssertionError):
        cached("table", "ab" * 32, refuse)
    assert not own_cache.exists()


def test_old_entries_go_and_others_stay(own_cache):
    cached("table-x", "ab" * 32, TABLE.copy)
    for number in range(KEPT + 3):
        cached("table", f"{number:064x}"[::-1], TABLE.copy)
    assert len(list(own_cache.iterdir())) == KEPT + 1


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("SECUREFL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "securefl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "securefl"


def test_a_user_without_a_home_goes_without(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for variable in ("SECUREFL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert_frame_equal(cached("table", "ab" * 32, TABLE.copy), TABLE)


def test_the_digest_covers_contents_order_and_options(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("1")
    second.write_text("2")
    digests = {
        digest([first, second]),
        digest([second, first]),
        digest([first]),
        digest([first], (2, 53)),
        digest([first], (2, 52)),
    }
    assert len(digests) == 5


def test_each_byte_of_a_large_file_counts(tmp_path, monkeypatch):
    """Files are hashed in parts, and parts in buffers, by several threads."""
    monkeypatch.setattr(cache, "_AT_A_TIME", 8)
    monkeypatch.setattr(cache, "_BUFFER", 3)
    content, files = bytes(range(20)), []
    changed = [content[:at] + b"x" + content[at + 1 :] for at in range(20)]
    for number, one in enumerate([content, *changed, content[:16], content + b"x"]):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(one)
    digests = [digest([file]) for file in files]
    assert len(set(digests)) == len(files)
    (tmp_path / "again").write_bytes(content)
    assert digest([tmp_path / "again"]) == digests[0]
