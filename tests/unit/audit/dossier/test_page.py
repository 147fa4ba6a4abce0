"""The page of a dossier: safe against names, and read in a real browser where there is one."""

import re

import pytest

from securefl.audit.dossier.page import page
from securefl.audit.report.page import render
from support.browser import browser, needs_browser
from support.hostile_text import HOSTILE, unseen

WIDTHS = (1200, 400)
MEASURE = """<script>addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter(
    e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest("pre, .scroll, .skip"));
  document.title = `${document.documentElement.scrollWidth} ${innerWidth} ${wide.length}`;
})</script></body>"""


@pytest.fixture(scope="module")
def html(evidence, dossier_from):
    return render(page(dossier_from(evidence)))


def test_the_page_has_every_part(html):
    """With an answer for each question, and the commands that repeat the audit."""
    for anchor in ("parties", "data-protection", "nist", "competition", "registry", "verify"):
        assert f'<section id="{anchor}"' in html
    assert "securefl-verifier verify bundle.json --agreement agreement.toml" in html
    assert not re.search(r"<td>\s*</td>", html)
    assert "<script" not in html


def test_no_hostile_name_acts_in_a_dossier(evidence_of, under, dossier_from, evidence):
    """Names of agreement and versions are text."""
    agreement = evidence.bundle.agreement.agreement.model_copy(update={"name": HOSTILE})
    signed = evidence.bundle.agreement.model_copy(update={"agreement": agreement})
    made = dossier_from(evidence_of(evidence.bundle.model_copy(update={"agreement": signed})))
    text = render(page(made))
    assert not unseen(text)
    assert "<b>" not in text
    assert "[bold red]" in text
    assert made.exit_code == 1


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_a_browser(html, tmp_path, width):
    """Nothing is cut off: the page is as wide as its window."""
    file = tmp_path / "page.html"
    policy = re.compile(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>")
    file.write_text(policy.sub("", html).replace("</body>", MEASURE), encoding="utf-8")
    dom = browser(tmp_path, f"--window-size={width},900", "--dump-dom", file.as_uri())
    found = re.search(r"<title>(\d+) (\d+) (\d+)</title>", dom)
    assert found, dom[-2000:]
    scroll, inner, wide = map(int, found.groups())
    assert scroll <= inner <= max(width, 500)
    assert wide == 0


@pytest.mark.slow
@needs_browser
def test_the_page_prints(html, tmp_path):
    """As a PDF of some pages, none of them blank for want of a place to break."""
    file, paper = tmp_path / "page.html", tmp_path / "page.pdf"
    file.write_text(html, encoding="utf-8")
    browser(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}", file.as_uri())
    content = paper.read_bytes()
    assert content.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 12
