"""Bugs, full disks and other surprises."""

from pathlib import Path

import pytest


@pytest.fixture
def broken(monkeypatch):
    def break_with(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr("securefl.federation.runs.run.prepare", fail)

    return break_with


def test_a_bug_is_one_line_and_its_traceback_a_file(cli, ratings, broken, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    broken(KeyError("secret of a retailer"))
    outcome = cli("run", ratings, "--out", "out", "--format", "json", "--quiet")
    assert outcome.refused("unexpected KeyError", code=70)
    assert "secret of a retailer" not in outcome.err
    report = Path(outcome.err.split()[-1])
    assert "KeyError: 'secret of a retailer'" in report.read_text()
    assert report.stat().st_mode & 0o077 == 0


def test_a_bug_shows_its_traceback_where_asked_for(cli, ratings, broken, monkeypatch):
    monkeypatch.setenv("SECUREFL_DEBUG", "1")
    broken(KeyError("x"))
    outcome = cli("run", ratings, "--out", "out", "--quiet")
    assert outcome.code == 70
    assert "Traceback (most recent call last)" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("securefl: unexpected KeyError")


def test_a_full_disk_names_the_file(cli, ratings, broken):
    broken(OSError(28, "No space left on device", "out/metrics.jsonl"))
    outcome = cli("run", ratings, "--out", "out", "--quiet")
    assert outcome.refused("out/metrics.jsonl: No space left on device")


def test_an_error_of_many_lines_is_told_in_one(cli, ratings, broken):
    from securefl.errors import DataError

    broken(DataError("sales.csv:\n  row 3\n  column price"))
    outcome = cli("run", ratings, "--out", "out", "--quiet")
    assert outcome.refused("securefl: sales.csv: row 3 column price\n")


def test_ctrl_c_outside_a_run(cli, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("securefl.data.sources.registry.load", interrupt)
    assert cli("data", "describe", "--data", "tutorial").refused("interrupted", code=130)
