"""Put the fragments of `changes/` into the section Unreleased of CHANGELOG.md, and delete them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECTIONS = ("added", "changed", "fixed", "removed", "security")
_HEAD = "## Unreleased\n"


def fragments(folder: Path) -> dict[str, list[Path]]:
    """Return the files of a folder by section, in the order of their names.

    Raises:
        ValueError: If a file is of no section.
    """
    found: dict[str, list[Path]] = {section: [] for section in SECTIONS}
    for path in sorted(folder.glob("*.md")):
        if path.name == "README.md":
            continue
        section = Path(path.stem).suffix.removeprefix(".")
        if section not in found:
            raise ValueError(f"{path.name} is of no section; there are {', '.join(SECTIONS)}")
        found[section].append(path)
    return {section: paths for section, paths in found.items() if paths}


def collected(changelog: str, found: dict[str, list[Path]]) -> str:
    """Return the changelog with the fragments at the top of its section Unreleased."""
    parts = []
    for section, paths in found.items():
        texts = (path.read_text("utf-8").strip() for path in paths)
        items = "\n".join(
            text if text.startswith("- ") else f"- {_indented(text)}" for text in texts
        )
        parts.append(f"\n### {section.capitalize()}\n\n{items}\n")
    head, found_head, rest = changelog.partition(_HEAD)
    if not found_head:
        raise ValueError("CHANGELOG.md has no section Unreleased")
    return head + found_head + "".join(parts) + rest


def _indented(text: str) -> str:
    return re.sub(r"\n(?=.)", "\n  ", text)


if __name__ == "__main__":
    files = fragments(ROOT / "changes")
    log = ROOT / "CHANGELOG.md"
    log.write_text(collected(log.read_text("utf-8"), files), encoding="utf-8")
    for gone in (path for paths in files.values() for path in paths):
        gone.unlink()
