"""The live page: what it shows, to whom, and that no name in it acts."""

import http.client
import json
import re
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from securefl.errors import InputError, RunDirectoryError
from securefl.federation.services import page
from securefl.federation.services.page import LivePage
from securefl.federation.services.page_server import serving
from support.browser import browser, needs_browser
from support.hostile_text import HOSTILE, check_harmless, unseen
from support.statuses import MEMBER_STATUS, STATUS, at, busy, hostile


@pytest.fixture(scope="module")
def address():
    """A page of a busy coordinator, on a real port."""
    with serving(0, lambda: busy(time.time()), Path("securefl-run")) as url:
        yield urlsplit(url)


def answer(address, method="GET", path="/", **headers):
    with closing(http.client.HTTPConnection(address.hostname, address.port, timeout=10)) as link:
        link.request(method, path, headers=headers)
        found = link.getresponse()
        text = b"" if "event-stream" in found.headers["content-type"] else found.read()
        if not text:
            text = found.readline()
        return found, text.decode()


def test_the_page_says_what_the_status_says(address):
    """Who is there, steps, waiting, bytes, epsilon and cap, verdicts, faults and what to do."""
    found, html = answer(address)
    assert found.status == 200
    words = ("grocers", "west", "reveal shares", "waits for west", "3 of 4", "5.0 MB up")
    words += ("1.25 of at most 4", "verified, 4 members", "no sum", "its disk is full")
    words += ("store is full", "make room on its disk", "securefl status securefl-run")
    assert [word for word in words if word not in html] == []


def test_the_page_is_renewed_by_events(address):
    """The same part again, one event a second."""
    found, line = answer(address, path="/events")
    assert found.headers["content-type"].startswith("text/event-stream")
    part = json.loads(line.removeprefix("data: "))
    assert part.strip() == LivePage(lambda: busy(time.time()), "x").part().strip()
    assert "<script" not in part


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
@pytest.mark.parametrize("path", ["/", "/events"])
def test_attack_another_name_for_this_machine(address, host, path):
    """DNS rebinding: a foreign page under a name of its own that means 127.0.0.1 reads nothing."""
    found, text = answer(address, path=path, Host=host)
    assert found.status == 400
    assert "grocers" not in text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"])
def test_the_page_takes_no_orders(address, method):
    found, text = answer(address, method=method)
    assert found.status == 405
    assert "grocers" not in text


def test_unknown_paths_say_nothing(address):
    for path in ("/status.json", "/../status.json", "//", "/events/x"):
        found, text = answer(address, path=path)
        assert found.status == 404
        assert "grocers" not in text


def test_the_page_loads_and_runs_only_its_own(address):
    """No address in it leads elsewhere, and browsers refuse styles and scripts of others."""
    found, html = answer(address)
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert re.findall(r"(?:https?:)?//[\w.]+", html) == []
    assert "src=" not in html
    assert "href=" not in html
    assert not re.search(r"\son\w+=", html)
    assert found.headers["x-frame-options"] == "DENY"
    assert found.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in found.headers


def test_the_page_listens_on_loopback_alone(address):
    """Its socket is bound to 127.0.0.1, so that other machines have nothing to talk to."""
    bound = Path("/proc/net/tcp")
    if not bound.exists():
        pytest.skip("no /proc here")
    port = f":{address.port:04X}"
    locals_ = [line.split()[1] for line in bound.read_text().splitlines()[1:]]
    listening = [local for local in locals_ if local.endswith(port)]
    assert listening
    assert {local.split(":")[0] for local in listening} == {"0100007F"}


@pytest.mark.parametrize("tree", [STATUS, MEMBER_STATUS], ids=["coordinator", "member"])
def test_no_hostile_name_acts_on_the_page(tree):
    """Markup is text, control characters are shown, and nothing is on a line of its own."""
    made = LivePage(lambda: at(hostile(tree), time.time()), HOSTILE)
    for text in (made.html(), made.part()):
        assert not unseen(text)
        assert "<b>" not in text
        assert "[bold red]" in text
    check_harmless(re.sub(r"<[^>]*>", " ", made.part()))


def test_a_page_before_the_first_status():
    """The process has just begun: that is said, and no error."""

    def nothing():
        raise RunDirectoryError("securefl-run has no status of a coordinator")

    assert "has no status of a coordinator" in LivePage(nothing, "securefl-run").html()


def test_too_many_open_pages_are_refused(monkeypatch):
    monkeypatch.setattr(page, "_MOST_STREAMS", 0)
    with serving(0, lambda: at(STATUS, time.time()), Path("run")) as url:
        found, _ = answer(urlsplit(url), path="/events")
        assert found.status == 503


def test_a_page_without_its_extra_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with (
        pytest.raises(InputError, match=r"pip install 'securefl\[serve\]'"),
        serving(0, dict, Path()),
    ):
        pass


def test_a_page_on_a_taken_port_says_so(address):
    with pytest.raises(InputError, match="cannot listen"), serving(address.port, dict, Path()):
        pass


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1200, 400])
def test_the_page_fits_a_browser_and_runs(address, tmp_path, width):
    """Nothing is wider than the window, and the script has taken an event: no policy stopped it."""
    html = shown(tmp_path, width, address.geturl())
    assert 'id="old" role="alert" hidden' in html
    assert html.count("reveal shares") == 1
    measured = tmp_path / "page.html"
    measured.write_text(
        LivePage(lambda: at(hostile(STATUS), time.time()), "run")
        .html()
        .replace("</body>", MEASURE),
        encoding="utf-8",
    )
    found = re.search(r"<title>(\d+) (\d+)</title>", shown(tmp_path, width, measured.as_uri()))
    assert int(found[1]) <= int(found[2]) <= max(width, 500)


@pytest.mark.slow
@needs_browser
def test_a_page_whose_process_is_gone_says_so(tmp_path):
    """An open page does not go on showing what was true once.

    Its events have no answer here, and the browser's clock runs ahead: with an event stream that is
    open, Chromium writes the page at once, however long it is to wait.
    """
    page = tmp_path / "page.html"
    page.write_text(LivePage(lambda: busy(time.time()), "run").html(), encoding="utf-8")
    html = shown(tmp_path, 1200, page.as_uri(), "--virtual-time-budget=20000")
    assert '<p id="old" role="alert">' in html
    assert '<main id="live" class="stale">' in html


MEASURE = """<script>addEventListener("load", () => {
  document.title = `${document.documentElement.scrollWidth} ${innerWidth}`; })</script></body>"""


def shown(folder, width, url, wait="--timeout=3000"):
    """The page's content after some time in a real browser."""
    return browser(folder, f"--window-size={width},900", wait, "--dump-dom", url)
