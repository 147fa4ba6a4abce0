"""Where the checkout lies that is tested."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
DOCS = ROOT / "docs"
VECTOR_FOLDER = TESTS / "protocols" / "vectors"


def page(name: str) -> Path:
    """Return the one file of this name under docs/, in whatever part of it."""
    (found,) = DOCS.rglob(name)
    return found
