"""Lines of own files in the cache: the same lines, the same words, and nothing stale."""

import logging
import stat

import pytest

from securefl.config.data import FilesSettings
from securefl.data import pace
from securefl.data.sources.files import member, prepared
from securefl.data.sources.files.progress import Reading, expected_lines
from securefl.data.sources.files.source import load
from securefl.errors import DataError

HEADER = "customer,product,time,quantity,value\n"
LINES = HEADER + "7,milk,2024-03-01,1,2.50\n,tea,2024-03-02,2,4.25\n"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A member whose file is small, and kept all the same."""
    monkeypatch.setattr(prepared, "WORTH", 0)
    monkeypatch.setenv("SECUREFL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "catalogue.csv").write_text("product\nmilk\ntea\n")
    (tmp_path / "north.csv").write_text(LINES)
    return tmp_path


def settings(folder, **changes):
    options = {
        "root": folder,
        "catalogue": "catalogue.csv",
        "members": [{"name": "north", "transactions": "north.csv"}],
        "rules": {"anonymous": "drop"},
    }
    return FilesSettings.model_validate({**options, **changes})


@pytest.fixture
def readings(monkeypatch):
    """Counts how often lines were read from files."""
    counted = []
    original = member._Reading.lines

    def lines(self, say):
        counted.append(self.member.name)
        return original(self, say)

    monkeypatch.setattr(member._Reading, "lines", lines)
    return counted


def test_a_second_start_reads_no_file(shop, readings):
    """The lines are the same, and what the rules left out is said again."""
    first, second = load(settings(shop)), load(settings(shop))
    assert readings == ["north"]
    assert first.members[0].transactions.equals(second.members[0].transactions)
    assert first.notes == second.notes
    assert any("'anonymous'" in note or "missing" in note for note in second.notes)
    (entry,) = (shop / "cache").iterdir()
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    assert stat.S_IMODE(entry.parent.stat().st_mode) == 0o700


def test_whatever_changes_is_read_anew(shop, readings):
    """A file of the same size, another rule, another catalogue, another period."""
    load(settings(shop))
    (shop / "north.csv").write_text(LINES.replace("2.50", "3.50"))
    assert load(settings(shop)).members[0].transactions["value"].tolist() == [3.5]
    assert len(load(settings(shop, rules={"anonymous": "keep"})).members[0].transactions) == 2
    (shop / "catalogue.csv").write_text("product\ntea\nmilk\n")
    assert load(settings(shop)).members[0].transactions["product"].tolist() == [1]
    load(settings(shop, period=["2024-03-01", "2024-03-05"]))
    assert len(readings) == 5
    load(settings(shop, cache=False))
    assert len(readings) == 6


def test_refused_lines_are_not_kept(shop, readings):
    """A correction is read at once, and a refusal is one each time."""
    for _ in range(2):
        with pytest.raises(DataError, match=r"rules\.anonymous"):
            load(settings(shop, rules={}))
    assert len(readings) == 2
    assert not (shop / "cache").exists()


def test_a_damaged_entry_is_read_anew(shop, readings):
    """A changed byte in the cache is no changed sale."""
    load(settings(shop))
    (entry,) = (shop / "cache").iterdir()
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(content)
    assert load(settings(shop)).members[0].transactions["value"].tolist() == [2.5]
    assert len(readings) == 2


def test_long_readings_say_how_far_they_are(shop, monkeypatch, caplog):
    """Of about how many lines, and how long it may take."""
    monkeypatch.setattr(pace, "EVERY", 0.0)
    (shop / "north.csv").write_text(HEADER + "7,milk,2024-03-01,1,2.50\n" * 100)
    known = settings(shop)
    assert 50 < expected_lines(known) < 100
    reading = Reading(known)
    with caplog.at_level(logging.INFO, "securefl.data.sources.files"):
        reading(10)
        reading(90)
    assert "read 10 lines of about" in caplog.messages[0]
    assert "s left" in caplog.messages[0]
    assert caplog.messages[1] == "read 100 lines"
