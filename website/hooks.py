"""What MkDocs calls while it builds the site: pages out of code, links, formulas."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import code_pages
import command_pages
import evidence_pages
import formulas
import settings_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from written import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
AT_ROOT = {
    "SECURITY.md": "explanation/security.md",
    "CHANGELOG.md": "reference/changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
}
"""Files beside docs/ that are pages of the site."""
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_CELL = re.compile(r"<td\b.*?</td>", re.DOTALL)
_EXTERNAL = re.compile(r"<(?:img|script|link|iframe|source)\b[^>]*\b(?:src|href)=\"(?:https?:)?//")
_SECTION = "@"
"""In the navigation, this and a folder stands for the generated pages of that folder."""
_REST = "+"
"""This and a folder stands for the pages in it that the navigation has nowhere else."""


def generated() -> list[Page]:
    """Return every page that is made from code or from a file beside docs/."""
    root = [
        Page(path, "", (ROOT / name).read_text("utf-8"))
        for name, path in AT_ROOT.items()
        if name != "README.md"
    ]
    modules = (command_pages, settings_pages, code_pages, evidence_pages)
    return [*root, *(page for module in modules for page in module.pages())]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the navigation with the generated pages."""
    config.extra["pages"] = generated()
    listed = set(_strings(config.nav))
    config.nav = [kept for item in config.nav or [] if (kept := _filled(item, config, listed))]
    return config


def _strings(tree: Any) -> Iterator[str]:  # noqa: ANN401 - a tree of YAML
    match tree:
        case str():
            yield tree
        case dict():
            yield from _strings(list(tree.values()))
        case list():
            for item in tree:
                yield from _strings(item)


def _filled(item: Any, config: MkDocsConfig, listed: set[str]) -> Any:  # noqa: ANN401 - as above
    """Return an entry with pages in the place of a folder; nothing if there are none."""
    match item:
        case dict():
            filled = {title: _filled(below, config, listed) for title, below in item.items()}
            return {title: below for title, below in filled.items() if below}
        case list():
            return [kept for below in item if (kept := _filled(below, config, listed))]
        case str() if item.startswith(_SECTION):
            folder, pages = item.removeprefix(_SECTION), config.extra["pages"]
            return [{p.title: p.path} for p in pages if posixpath.dirname(p.path) == folder]
        case str() if item.startswith(_REST):
            folder = item.removeprefix(_REST)
            files = (DOCS / folder).glob("*.md")
            return sorted({f"{folder}/{path.name}" for path in files} - listed)
    return item


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for page in config.extra["pages"]:
        files.append(File.generated(config, page.path, content=page.text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:  # noqa: ANN401 - MkDocs'
    """Have links to files beside docs/ lead to their pages, or name them where there are none."""
    here = page.file.src_uri
    origin = next((name for name, path in AT_ROOT.items() if path == here), None)
    base = "" if origin and origin != "README.md" else posixpath.dirname(f"docs/{here}")

    def lead(link: re.Match[str]) -> str:
        return _lead(link, base, posixpath.dirname(here))

    return "".join(
        part if part.startswith("```") else _LINK.sub(lead, part)
        for part in re.split(r"(```.*?```)", markdown, flags=re.DOTALL)
    )


def _lead(link: re.Match[str], base: str, here: str) -> str:
    text, target = link.groups()
    if re.match(r"[a-z]+:|#|<", target):
        return link[0]
    path, mark, anchor = target.partition("#")
    place = posixpath.normpath(posixpath.join(base, path))
    inside = AT_ROOT.get(place) or (place.removeprefix("docs/") if _is_page(place) else None)
    if inside is None:
        return text if text.strip("`") == place else f"{text} (`{place}`)"
    if text.strip("`").rpartition("/")[2] == posixpath.basename(place):
        text = _title(ROOT / place) or text
    return f"[{text}]({posixpath.relpath(inside, here or '.')}{mark}{anchor})"


def _title(page: Path) -> str | None:
    """Return what a page is called: a reader of the site knows no file by its name."""
    if not page.is_file():
        return None
    head = re.match(r"# (.+)", page.read_text("utf-8"))
    return head[1] if head else None


def _is_page(place: str) -> bool:
    return place.startswith("docs/")


def on_page_content(content: str, **_: object) -> str:
    """Draw the formulas; a bar of code in a cell loses the backslash that Markdown needs there."""
    bars = _CELL.sub(lambda cell: cell[0].replace("\\|", "|"), content)
    return formulas.as_mathml(bars)


def on_post_page(output: str, *, page: Any, **_: object) -> str:  # noqa: ANN401 - MkDocs' class
    """Refuse a page that loads anything from elsewhere."""
    if found := _EXTERNAL.search(output):
        raise ValueError(f"{page.file.src_uri} loads something from elsewhere: {found[0]}")
    return output
