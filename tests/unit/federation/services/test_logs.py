"""Logs: JSON lines in files of bounded size and number, for their owner alone."""

import errno
import io
import json
import logging

import pytest

from securefl.errors import RunDirectoryError
from securefl.federation.services.logging import JsonLines, LossyStream, RotatedFile, log_to_file
from support.command_line import own_logs
from support.hostile_text import HOSTILE


@pytest.fixture
def log(tmp_path):
    """A logger of its own, into a file of at most 2,000 bytes, with two older ones."""
    handler = RotatedFile(tmp_path / "run.log", 2_000, 2)
    made = logging.Logger("securefl.test")
    made.addHandler(handler)
    made.path, made.handler = tmp_path / "run.log", handler
    yield made
    handler.close()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_logs_are_rotated_and_the_oldest_deleted(log):
    """However long a run is: three files, each of bounded size."""
    for number in range(200):
        log.info("line %d", number)
    files = sorted(log.path.parent.iterdir())
    assert [file.name for file in files] == ["run.log", "run.log.1", "run.log.2"]
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert lines(log.path)[-1]["says"] == "line 199"
    assert len({line["says"] for file in files for line in lines(file)}) < 200


def test_every_log_begins_with_how_long_it_is_kept(log):
    for number in range(50):
        log.info("line %d", number)
    for file in log.path.parent.iterdir():
        assert lines(file)[0]["says"] == (
            "this file is replaced at 2000 bytes; 2 older ones are kept, and the oldest is deleted"
            " then"
        )


def test_logs_are_their_owners_alone(log):
    for number in range(200):
        log.info("line %d", number)
    assert {file.stat().st_mode & 0o777 for file in log.path.parent.iterdir()} == {0o600}


def test_a_log_names_the_fault_and_no_text_of_an_error(log):
    try:
        raise ValueError("customer 17")
    except ValueError:
        log.exception("it failed", extra={"fault": "store-full"})
    (_, line) = lines(log.path)
    assert (line["fault"], line["error"], line["level"]) == ("store-full", "ValueError", "error")
    assert "customer" not in log.path.read_text()


def test_no_hostile_name_makes_a_line_of_a_log(log):
    log.warning("%s is late", HOSTILE)
    assert len(lines(log.path)) == 2
    assert log.path.read_text().isascii()


def test_a_full_disk_ends_no_run_by_its_log(log, monkeypatch, capsys):
    def full(text):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(log.handler, "format", full)
        log.error("the disk is full")
    assert capsys.readouterr().err == ""


def test_lines_lost_on_a_full_disk_are_counted(capsys):
    """On stderr the library wrote a traceback for each, into what was left of the disk."""
    full = [True]

    class Stream(io.StringIO):
        def write(self, text):
            if full[0]:
                raise OSError(errno.EFBIG, "File too large")
            return super().write(text)

    stream = Stream()
    handler, made = LossyStream(stream), logging.Logger("securefl.test")
    handler.setFormatter(JsonLines())
    made.addHandler(handler)
    for _ in range(3):
        made.error("the disk is full")
    full[0] = False
    made.error("there is room")
    made.error("and still is")
    said = [json.loads(line)["says"] for line in stream.getvalue().splitlines()]
    assert said == [
        "there is room",
        "3 lines of this log could not be written, and may be missing",
        "and still is",
    ]
    assert capsys.readouterr().err == ""


def test_a_log_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(RunDirectoryError, match="cannot be written"):
        log_to_file(tmp_path / "taken", 1000, 2)


def test_no_other_file_becomes_a_log(tmp_path):
    """Lines at the end of a configuration would make it unreadable, and rotation delete it."""
    file = tmp_path / "my.toml"
    file.write_text("rounds = 3\n")
    with pytest.raises(RunDirectoryError, match="is no log"):
        log_to_file(file, 1000, 2)
    assert file.read_text() == "rounds = 3\n"


def test_a_log_is_gone_on_with(tmp_path):
    for _ in range(2):
        with own_logs():
            log_to_file(tmp_path / "log", 1000, 2)
            logging.getLogger().handlers[0].close()
    assert len((tmp_path / "log").read_text().splitlines()) == 2
