"""What the wheel ships: nothing that only tests reach, no writes to foreign attributes."""

import ast
import itertools
import tomllib

import pytest

from support.paths import ROOT

PACKAGES = {
    "securefl": ROOT / "securefl",
    "securefl_protocols": ROOT / "protocols/securefl_protocols",
    "securefl_cli": ROOT / "cli/securefl_cli",
}


def modules():
    """Each shipped module's dotted name and file."""
    for package, folder in PACKAGES.items():
        for file in sorted(folder.rglob("*.py")):
            parts = [package, *file.relative_to(folder).with_suffix("").parts]
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def entry_points():
    """What is named as an entrance: commands, task declarations, the API, and Flower's two apps."""
    groups = []
    for folder in (ROOT, ROOT / "packaging" / "verifier"):
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        groups += [project.get("scripts", {}), *project.get("entry-points", {}).values()]
    flower = tomllib.loads((ROOT / "examples" / "flower-app" / "pyproject.toml").read_text())
    groups.append(flower["tool"]["flwr"]["app"]["components"])
    named = (target.split(":")[0] for group in groups for target in group.values())
    return {"securefl", "securefl.__main__", "securefl_cli.__main__", *named}


def names_in(source):
    """All dotted names that a module may import: by statement, or as `module:attribute`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0, names=names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Constant(value=str(text)):
                yield text.split(":")[0]


def reached(sources, starts):
    """The modules that an import of the starts may lead to, and the packages around them."""
    seen, waiting = set(), [name for name in starts if name in sources]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        parents = itertools.accumulate(name.split("."), "{}.{}".format)
        waiting += [found for found in (*names_in(sources[name]), *parents) if found in sources]
    return seen


def foreign_writes(source):
    """Lines that assign, delete or `setattr` a private attribute of another object than one's own.

    A class may build its own instances: `made = cls(...)`.
    """
    tree = ast.parse(source)
    own = {"self", "cls"} | {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) in {"cls", "cls.__new__", "object.__new__"}
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, value=value, ctx=ast.Store() | ast.Del()):
                pass
            case ast.Call(
                func=ast.Name(id="setattr" | "delattr"),
                args=[value, ast.Constant(value=str(name)), *_],
            ):
                pass
            case _:
                continue
        if name.startswith("_") and ast.unparse(value) not in own:
            yield node.lineno


def test_no_module_is_there_for_tests_alone():
    """Every module is reached from an entry point; what tests share is in tests/support."""
    sources = {name: file.read_text() for name, file in modules()}
    assert sorted(set(sources) - reached(sources, entry_points())) == []


def test_a_module_without_an_importer_is_found():
    sources = {
        "a": "import a.b\nLATER = 'a.c:Thing'",
        "a.b": "def f():\n    from a import d",
        "a.c": "",
        "a.d": "",
        "a.lonely": "import a.b",
    }
    assert set(sources) - reached(sources, {"a"}) == {"a.lonely"}


@pytest.mark.parametrize(("name", "file"), [*modules()], ids=lambda part: str(part)[-40:])
def test_no_private_attribute_of_others_is_written(name, file):
    assert [f"{name}:{line}" for line in foreign_writes(file.read_text())] == []


@pytest.mark.parametrize(
    "line",
    [
        "client._auth = True",
        "del layer.weight._norm",
        "a, b._c = 1, 2",
        "self.client._count += 1",
        "setattr(client, '_auth', True)",
        "x._y: int = 3",
    ],
)
def test_a_write_to_a_private_attribute_is_found(line):
    assert [*foreign_writes(line)] == [1]


def test_a_class_may_set_what_is_its_own():
    source = "self._a = 1\nmade = cls()\nmade._b = 2\nx.public = client._read"
    assert [*foreign_writes(source)] == []
