"""Where the checkout lies that is tested."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
DOCS = ROOT / "docs"
VECTOR_FOLDER = TESTS / "protocols" / "vectors"

GENERATED_PAGES = {
    *("reference/schema.md", "reference/bundle-fields.md", "reference/messages.md"),
    *("reference/errors.md", "reference/changelog.md", "explanation/security.md"),
    "contributing.md",
}
"""Pages of the site that are in no file: `website/` makes them from the code."""
GENERATED_FOLDERS = {f"reference/{name}" for name in ("api", "checks", "commands", "settings")}


def is_generated(path: Path) -> bool:
    """Return whether the site makes the page; `make docs` checks that it does."""
    name = path.resolve()
    if not name.is_relative_to(DOCS):
        return False
    inside = name.relative_to(DOCS)
    return inside.as_posix() in GENERATED_PAGES or inside.parent.as_posix() in GENERATED_FOLDERS


def page(name: str) -> Path:
    """Return the one page of prose of this name under docs/, in whatever part of it."""
    tables = DOCS / "results" / "benchmarks"
    (found,) = (path for path in DOCS.rglob(name) if path.parent != tables)
    return found
