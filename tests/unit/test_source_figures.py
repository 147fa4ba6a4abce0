"""The figures that `benchmarks/architecture.py` prints, on sources that are made up."""

import ast
import sys
from importlib import import_module

import pytest

from support.paths import ROOT


@pytest.fixture
def figures(monkeypatch):
    """The module, from the benchmarks of this checkout."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.delitem(sys.modules, "source_figures", raising=False)
    return import_module("source_figures")


@pytest.fixture
def read(figures, tmp_path):
    """Writes a package `securefl` of these files and reads it."""

    def make(**texts):
        for name, text in texts.items():
            relative = name.replace("____init__", "/#").replace("__", "/").replace("#", "__init__")
            path = tmp_path / "securefl" / f"{relative}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return figures.sources(tmp_path, "securefl")

    return make


def test_cycles_of_three_and_of_two(figures):
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert figures.cycles(graph) == [["a", "b", "c"], ["d", "e"]]
    assert figures.pairs_both_ways(graph) == [("d", "e")]


def test_cycles_where_there_is_none(figures):
    assert figures.cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize(
    "text",
    [
        "from securefl.b import thing",
        "from securefl import b",
        "import securefl.b",
        "from . import b",
        "from .b import thing",
        "def late():\n    from securefl.b import thing",
        "def late():\n    return import_module('securefl.b').thing",
        "NAME = 'securefl.b:Thing'",
    ],
)
def test_arrows_of_every_kind(figures, read, text):
    found = figures.arrows(read(a=text, b="thing = 1"))
    assert found.executed["securefl.a"] == {"securefl.b"}
    assert found.typing["securefl.a"] == set()


def test_arrows_under_type_checking(figures, read):
    """Imports for the type checker are a graph of their own."""
    text = "if TYPE_CHECKING:\n    from securefl.b import Thing"
    found = figures.arrows(read(a=text, b="Thing = 1"))
    assert found.executed["securefl.a"] == set()
    assert found.typing["securefl.a"] == {"securefl.b"}


def test_arrows_of_what_is_not_ours(figures, read):
    found = figures.arrows(read(a="import os\nfrom numpy import linalg\nTIME = '10:x'"))
    assert found.executed == {"securefl.a": set()}


def test_grouped_by_unit(figures, read):
    """Two packages import each other though no two of their modules do."""
    texts = {
        "one____init__": "",
        "one__x": "from securefl.two.y import f",
        "one__z": "",
        "two____init__": "",
        "two__y": "from securefl.one import z",
    }
    found = figures.arrows(read(**texts)).executed
    assert figures.cycles(found) == []
    assert figures.cycles(figures.grouped(found, "securefl")) == [["one", "two"]]
    assert figures.grouped(found, "securefl.one", depth=9) == {"x": set(), "z": set()}


def test_comment_lines_alone_on_their_line(figures):
    text = '"""Doc.\n# none\n"""\n# one\nx = 1  # beside code\nif x:\n    # two\n    y = "#"\n'
    assert figures.comment_lines(text) == 2


def test_function_lengths_without_decorators(figures):
    tree = ast.parse("@d\ndef f():\n    return 1\n\nclass C:\n    def g(self): ...\n")
    assert sorted(figures.function_lengths(tree)) == [1, 2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = config.privacy.dp == 'none'", True),
        ("x = 'none' != p.dp", True),
        ("x = p.dp in {'local'}", True),
        ("match p.dp:\n    case 'local': pass", True),
        ("x = p.dp", False),
        ("x = p.dpi == 3", False),
    ],
)
def test_compares_an_attribute(figures, read, text, found):
    assert figures.compares(read(a=text)[0], "dp") is found


def test_small_files_with_one_importer(figures, read):
    long = "\n" * 80
    files = read(a="from securefl import b, c, d", b="", c=long, d="", e="from securefl import d")
    assert figures.small_with_one_importer(files) == [("securefl/b.py", "securefl.a")]
