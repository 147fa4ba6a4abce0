"""Pages of measured results are what the writer makes of the results that are kept."""

from importlib import import_module

import pytest

from support.paths import DOCS, ROOT

FOLDER = DOCS / "results" / "benchmarks"


@pytest.fixture
def written(monkeypatch):
    """The pages by their path under docs/results."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("pages").pages()


def test_pages_are_what_the_results_give(written):
    """`python -m benchmarks --pages` writes them."""
    here = {f"benchmarks/{path.name}" for path in FOLDER.glob("*.md")} | {"benchmarks.md"}
    assert here == set(written)
    for name, text in written.items():
        assert (DOCS / "results" / name).read_text("utf-8") == text, name


def test_every_result_is_listed_under_the_anchor_of_its_section(written):
    kept = {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json")}
    listed = written["benchmarks.md"]
    assert all(f'<a id="{name}"></a>' in listed for name in kept)
    assert all(
        (DOCS / "images" / f"{name}.png").exists() for name in import_module("pages").PICTURES
    )
