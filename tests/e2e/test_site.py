"""The site has every page, tutorials run as they stand, and no paragraph is endless."""

import os
import re
import shlex
import subprocess
import sys

import click
import pytest

from securefl_cli.commands.demo import steps
from securefl_cli.main import securefl
from support.browser import browser, needs_browser
from support.paths import DOCS, GENERATED_PAGES, ROOT, page

CONFIG = (ROOT / "mkdocs.yml").read_text("utf-8")
NAVIGATION = CONFIG.partition("\nnav:\n")[2]
LISTED = re.findall(r"[\w/-]+\.md", NAVIGATION)
WRITTEN = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
WIDE = (
    *("index.html", "tutorials/first-run.html", "results/ten-figures.html"),
    *("results/benchmarks/architecture.html", "reference/settings/churn.html"),
    *("reference/api/securefl.html", "explanation/attacks-protocol.html"),
)
"""Pages with wide tables, blocks of code or pictures."""
MEASURE = """<!doctype html><style>iframe { width: 400px; height: 800px; border: 0 }</style><script>
addEventListener("load", () => {
  document.title = [...document.querySelectorAll("iframe")].map(({contentDocument: page}) => {
    const right = e => e.getBoundingClientRect().right;
    const text = right(page.querySelector("article")) + .5;
    const boxes = [...page.querySelectorAll("article .md-typeset__scrollwrap")];
    const tables = page.querySelectorAll("article table:not([class])").length;
    return [page.scrollingElement.scrollWidth, boxes.length == tables,
            boxes.every(e => right(e) <= text)].join("/");
  }).join(" "); })</script>"""
"""Of each frame: how wide its page is, whether each table has a box, and whether that fits."""
LONGEST = 320
"""Words of a paragraph or a cell: two screens of a phone."""


def test_every_page_is_in_the_navigation_once():
    """By its name or by its folder; what is neither written nor generated is not listed."""
    assert len(LISTED) == len(set(LISTED))
    assert set(LISTED) <= WRITTEN | GENERATED_PAGES
    others = {name.rpartition("/")[0] for name in (WRITTEN | GENERATED_PAGES) - set(LISTED)}
    assert others <= set(re.findall(r'"\+([\w/]+)"', NAVIGATION))


@pytest.mark.parametrize("name", sorted({*WRITTEN, "../README.md", "../SECURITY.md"}))
def test_no_paragraph_is_longer_than_two_screens(name):
    text = re.sub(r"```.*?```", "", (DOCS / name).read_text("utf-8"), flags=re.DOTALL)
    for part in re.split(r"\n\s*\n|\n(?=\s*(?:[-*|] |\d+\. ))", text):
        cells = part.split("|") if part.lstrip().startswith("|") else [part]
        assert max(len(cell.split()) for cell in cells) <= LONGEST, part[:80]


def test_pictures_load_nothing_from_elsewhere():
    """And have words for those who cannot see them."""
    for path in (DOCS / "images").glob("*.svg"):
        text = path.read_text("utf-8")
        assert set(re.findall(r"https?://[\w./]+", text)) <= {"http://www.w3.org/2000/svg"}
        assert "<title" in text
        assert "<desc" in text


@pytest.mark.parametrize("real", [True, False])
def test_every_step_of_the_demo_is_a_command(tmp_path, real):
    """With options that it has; each step says why it is shown."""
    for step in steps(tmp_path, real=real):
        command, words = securefl, list(step.words)
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
        known = {name for option in command.params for name in option.opts}
        assert {word for word in words if word.startswith("--")} <= known
        assert step.why.endswith(".")


def test_demo_lists_its_commands(cli):
    listed = cli("demo", "--list", "--out", "there").out.splitlines()
    assert len(listed) == len(list(steps(DOCS, real=True)))
    assert all(line.startswith("securefl ") for line in listed)


def test_demo_refuses_a_folder_in_use(cli, here):
    (here / "mine").mkdir()
    (here / "mine" / "letter").touch()
    cli("demo", "--out", "mine").refused("mine exists and is not empty")


def shell_lines(name):
    for block in re.findall(r"```sh\n(.*?)```", page(name).read_text("utf-8"), flags=re.DOTALL):
        yield from (line.split("  #")[0].strip() for line in block.splitlines() if line.strip())


@pytest.mark.slow
def test_first_tutorials_run_as_they_stand(cli, here, monkeypatch):
    """One after the other in one folder; a run on one machine passes its audit."""
    monkeypatch.setenv("SECUREFL_HOME", str(here / "home"))
    (toml,) = re.findall(r"```toml\n(.*?)```", page("first-run.md").read_text("utf-8"), re.DOTALL)
    (here / "first.toml").write_text(toml)
    for line in (*shell_lines("first-run.md"), *shell_lines("private-run.md")):
        outcome = cli(*shlex.split(line)[1:])
        assert outcome.code == 0, (line, outcome.err)
    assert (here / "runs" / "first" / "report.html").is_file()


@pytest.mark.slow
def test_demo_runs_on_what_is_installed(tmp_path):
    """The whole of it, in minutes."""
    done = subprocess.run(
        [sys.executable, "-m", "securefl", "demo", "--out", "out"],
        cwd=tmp_path,
        env=os.environ | {"SECUREFL_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for made in ("first/result.json", "lists.csv", "private/report.html", "bundle.json"):
        assert (tmp_path / "out" / made).is_file(), made


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site as `make docs` builds it, with its warnings as errors."""
    pytest.importorskip("mkdocs")
    site = tmp_path_factory.mktemp("site")
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "protocols", "cli"))
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(site)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return site


@pytest.mark.slow
def test_site_has_every_page(built):
    assert len(list(built.rglob("*.html"))) > len(WRITTEN) + len(GENERATED_PAGES)


@pytest.mark.slow
@needs_browser
def test_no_page_is_wider_than_a_phone(built, tmp_path):
    """Nor is the box of a table wider than the text; it scrolls inside."""
    frames = "".join(f'<iframe src="{(built / name).as_uri()}"></iframe>' for name in WIDE)
    measure = tmp_path / "measure.html"
    measure.write_text(MEASURE + frames, encoding="utf-8")
    options = ("--allow-file-access-from-files", "--hide-scrollbars")
    wait = "--virtual-time-budget=20000"
    dom = browser(tmp_path, *options, wait, "--dump-dom", measure.as_uri())
    (found,) = re.findall(r"<title>(.+)</title>", dom)
    assert dict(zip(WIDE, found.split(), strict=True)) == dict.fromkeys(WIDE, "400/true/true")


@pytest.mark.slow
@needs_browser
def test_search_works_in_a_folder(built, tmp_path):
    """Without a server, where a page may start no worker."""
    page = (built / "tutorials" / "first-run.html").as_uri()
    dom = browser(tmp_path, "--virtual-time-budget=20000", "--dump-dom", f"{page}?q=threshold")
    assert re.search(r"\d+ matching documents", dom)
