"""Figures of a checkout's source: who imports whom, how long files and functions are.

Reads text and syntax trees and imports nothing of what it measures, so that it can be held against
any commit. An arrow is an import statement, also inside a function, a literal
`import_module("a.b")`, or a string `"a.b:Name"` that is resolved later. Imports under
`if TYPE_CHECKING` are a graph of their own: they are not executed.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PARTS = {
    "securefl": Path("securefl"),
    "protocols": Path("protocols/securefl_protocols"),
    "cli": Path("cli/securefl_cli"),
}
SMALL = 60
"""A file of fewer lines is small: with one importer it may as well stand in there."""
_LATE_NAME = re.compile(r"([a-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*")

Graph = dict[str, set[str]]


@dataclass(frozen=True)
class Source:
    """One file of a package.

    Attributes:
        path: Relative to the checkout.
        module: Its dotted name; that of the package for an `__init__.py`.
    """

    path: Path
    module: str
    text: str
    tree: ast.Module = field(repr=False)

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())


def sources(root: Path, part: str) -> list[Source]:
    """Every Python file of a part of the checkout, sorted by path."""
    top = root / PARTS[part]
    found = []
    for path in sorted(top.rglob("*.py")):
        names = path.relative_to(top.parent).with_suffix("").parts
        module = ".".join(names[:-1] if names[-1] == "__init__" else names)
        text = path.read_text(encoding="utf-8")
        found.append(Source(path.relative_to(root), module, text, ast.parse(text)))
    return found


@dataclass
class Arrows:
    """Module to the modules that it imports: executed ones, and those for the type checker."""

    executed: Graph
    typing: Graph

    def importers(self) -> Graph:
        """Module to who imports it, for whatever reason."""
        found: Graph = {}
        for graph in (self.executed, self.typing):
            for module, targets in graph.items():
                for target in targets:
                    found.setdefault(target, set()).add(module)
        return found


def arrows(files: Iterable[Source]) -> Arrows:
    """Who imports whom among these files."""
    files = list(files)
    modules = {source.module for source in files}
    executed: Graph = {module: set() for module in modules}
    typing: Graph = {module: set() for module in modules}
    for source in files:
        late = _type_checking_nodes(source.tree)
        for node in ast.walk(source.tree):
            graph = typing if id(node) in late else executed
            targets = _targets(node, source) if not isinstance(node, ast.Constant) else _late(node)
            graph[source.module] |= {
                module for name in targets if (module := _nearest(name, modules)) is not None
            } - {source.module}
    return Arrows(executed, typing)


def _type_checking_nodes(tree: ast.Module) -> set[int]:
    blocks = (
        node.body
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    )
    return {id(inner) for body in blocks for node in body for inner in ast.walk(node)}


def _targets(node: ast.AST, source: Source) -> Iterator[str]:
    """What a statement or call imports; `a.b.c` for `from a.b import c`, module or not."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _base(node, source)
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and called(node) == "import_module" and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def _base(node: ast.ImportFrom, source: Source) -> str:
    if not node.level:
        return node.module or ""
    is_package = source.path.name == "__init__.py"
    names = source.module.split(".")
    kept = names[: len(names) - node.level + is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _late(node: ast.Constant) -> Iterator[str]:
    if isinstance(node.value, str) and (match := _LATE_NAME.fullmatch(node.value)):
        yield match[1]


def called(node: ast.Call) -> str:
    """The last name of what is called."""
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _nearest(name: str, modules: set[str]) -> str | None:
    """The module that `a.b.C` is had from: itself, or the longest part before it."""
    if name in modules:
        return name
    parent = name.rpartition(".")[0]
    return parent if parent in modules else None


def grouped(graph: Mapping[str, set[str]], package: str, depth: int = 1) -> Graph:
    """The arrows between the units of a package: the names `depth` levels below it."""
    found: Graph = {}
    for module, targets in graph.items():
        unit = _unit(module, package, depth)
        if unit is not None:
            others = {_unit(target, package, depth) for target in targets} - {None, unit}
            found.setdefault(unit, set()).update(filter(None, others))
    return found


def _unit(module: str, package: str, depth: int) -> str | None:
    if not module.startswith(f"{package}."):
        return None
    return ".".join(module[len(package) + 1 :].split(".")[:depth])


def merged(one: Mapping[str, set[str]], other: Mapping[str, set[str]]) -> Graph:
    """The arrows of both."""
    return {name: one.get(name, set()) | other.get(name, set()) for name in {*one, *other}}


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node, the largest first (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in number:
                visit(target)
                lowest[node] = min(lowest[node], lowest[target])
            elif target in stack:
                lowest[node] = min(lowest[node], number[target])
        if lowest[node] == number[node]:
            place = stack.index(node)
            component, stack[place:] = sorted(stack[place:]), []
            if len(component) > 1:
                found.append(component)

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return sorted(found, key=lambda component: (-len(component), component))


def pairs_both_ways(graph: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Pairs that import each other, each once."""
    return sorted(
        (a, b) for a, targets in graph.items() for b in targets if a < b and a in graph.get(b, ())
    )


def comment_lines(text: str) -> int:
    """Lines that are a comment and nothing else; a docstring is none."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(
        token.type == tokenize.COMMENT and token.line.lstrip().startswith("#") for token in tokens
    )


def function_lengths(tree: ast.Module) -> list[int]:
    """Lines of each function and method from `def` to its end; decorators are not counted."""
    return [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def late_imports(source: Source) -> list[int]:
    """The lines on which `import_module` is called, literal or not."""
    return sorted(
        node.lineno
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and called(node) == "import_module"
    )


def compares(source: Source, attribute: str) -> bool:
    """Whether a file compares an attribute of that name with anything, or matches on it."""
    for node in ast.walk(source.tree):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        sides += [node.subject] if isinstance(node, ast.Match) else []
        if any(isinstance(side, ast.Attribute) and side.attr == attribute for side in sides):
            return True
    return False


def small_with_one_importer(files: Iterable[Source]) -> list[tuple[str, str]]:
    """Files under `SMALL` lines that one module alone imports: path and that module."""
    files = list(files)
    importers = arrows(files).importers()
    return [
        (source.path.as_posix(), *importers[source.module])
        for source in files
        if source.lines < SMALL
        and source.path.name != "__init__.py"
        and len(importers.get(source.module, ())) == 1
    ]
