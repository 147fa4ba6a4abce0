"""`securefl report`: a page of a finished run, and one line for whatever cannot be reported."""

import pytest


@pytest.fixture
def finished(cli, ratings):
    def make(name, *options):
        cli("run", ratings, "--out", name, "--quiet", *options)
        return name

    return make


def test_a_finished_run_becomes_a_page(cli, here, finished):
    cli("report", finished("run"), "--time-limit", "0.001").refused("takes longer than 0.001")
    said = cli("report", "run")
    page = here / said.out.strip()
    assert page == here / "run" / "report.html"
    text = page.read_text(encoding="utf-8")
    assert "What an audit says" in text
    assert "✗" not in text
    assert "securefl audit export" in text


@pytest.mark.slow
def test_two_runs_side_by_side(cli, here, finished):
    first, second = finished("secure"), finished("plain", "--mode", "plain")
    cli("report", first, "--beside", second, "--out", "both.html")
    assert "What the protection costs" in (here / "both.html").read_text(encoding="utf-8")


def test_what_cannot_be_reported_is_one_line(cli, here, interrupted):
    cli("report", "nowhere").refused("nowhere", "no run directory")
    interrupted("--out", "half")
    cli("report", "half").refused("half", "has not ended", "--resume")
    assert not (here / "half" / "report.html").exists()
