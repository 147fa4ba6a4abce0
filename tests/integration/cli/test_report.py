"""`securefl report`: a page of a finished run, and one line for whatever cannot be reported."""

import pytest


@pytest.fixture
def finished(cli, ratings):
    def make(name, *options):
        cli("run", ratings, "--out", name, "--quiet", *options)
        return name

    return make


def test_a_finished_run_becomes_a_page(cli, here, finished):
    said = cli("report", finished("run"))
    page = here / said.out.strip()
    assert page == here / "run" / "report.html"
    text = page.read_text(encoding="utf-8")
    assert "What an audit says" in text
    assert "✗" not in text
    assert "securefl audit export" in text


def test_two_runs_side_by_side(cli, here, finished):
    first, second = finished("secure"), finished("plain", "--mode", "plain")
    cli("report", first, "--beside", second, "--out", "both.html")
    assert "What the protection costs" in (here / "both.html").read_text(encoding="utf-8")


def test_what_cannot_be_reported_is_one_line(cli, here, interrupted):
    cli("report", "nowhere").refused("nowhere", "no run directory")
    interrupted("--out", "half")
    cli("report", "half").refused("half", "has not ended", "--resume")
    assert not (here / "half" / "report.html").exists()


def test_no_file_but_an_earlier_report_or_bundle_is_replaced(cli, here, finished):
    """A slip in --out took the ledger of the run, which nobody can make again."""
    run = here / finished("run")
    ledger = (run / "ledger.sqlite").read_bytes()
    for command in (("audit", "export", "run"), ("report", "run")):
        for name in ("ledger.sqlite", "result.json", "config.toml"):
            before = (run / name).read_bytes()
            outcome = cli(*command, "--out", f"run/{name}")
            assert outcome.refused(name, "it is not replaced")
            assert (run / name).read_bytes() == before
    assert (run / "ledger.sqlite").read_bytes() == ledger
    for _ in range(2):
        assert cli("audit", "export", "run", "--out", "bundle.json").code == 0
        assert cli("report", "run", "--out", "page.html").code == 0
