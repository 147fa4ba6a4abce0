"""docs/explanation/architecture.md is true to the import contracts and names only what exists."""

import ast
import itertools
import re
import tomllib
from pathlib import Path

import pytest

from support.paths import page

ROOT = Path(__file__).parents[1]
PAGE = page("architecture.md").read_text(encoding="utf-8")


def section(title):
    return re.split(rf"^## {title}$", PAGE, flags=re.M)[1].split("\n## ")[0]


def rows(title):
    """The cells of the rows of a section's table, without its head."""
    text = re.sub(r"```.*?```", "", section(title), flags=re.S)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[2:]]
    return [[cell.strip().replace(r"\|", "|") for cell in row] for row in cells]


def contracts():
    """Container to layers, from the top; "" for the contract over the packages."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    return {
        contract.get("containers", [""])[0]: contract["layers"]
        for contract in linter["importlinter"]["contracts"]
        if contract["type"] == "layers"
    }


def arrows(layers):
    return list(itertools.pairwise(layers))


def names_in(path):
    """All functions, classes with their methods and fields, and constants of a module."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        found |= set(bound(node))
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for inner in node.body for name in bound(inner)}
    return found


def bound(node):
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            yield name


def placed():
    return [(row[1], row[2]) for title in PLACES for row in rows(title)]


PLACES = ("One round", "Where a decision stands")


def test_picture_has_the_contract_s_rooms_in_order():
    """One row of the box a layer, the highest first."""
    box = re.search(r"```text\n(.*?)```", section("The rooms"), re.S)[1]
    drawn = [
        re.split(r"\s{2,}", line[2:])[0]
        for line in box.splitlines()
        if line.startswith("| ") and line[2] != " "
    ]
    assert drawn == contracts()["securefl"]


def test_picture_has_the_packages_in_order():
    """The box is the middle one."""
    box = re.search(r"```text\n(.*?)```", section("The rooms"), re.S)[1]
    order = [box.index("securefl_cli"), box.index(" securefl\n"), box.index("securefl_protocols")]
    assert order == sorted(order)
    assert contracts()[""] == ["securefl_cli", "securefl", "securefl_protocols"]


def test_every_room_with_a_contract_is_listed():
    """The table has the inner contracts, word for word, and no others."""
    inside = {room.strip("`"): layers.strip("`").split(" > ") for room, layers in rows("The rooms")}
    assert inside == {
        room: layers for room, layers in contracts().items() if room not in {"", "securefl"}
    }


def test_every_arrow_is_explained_in_three_sentences():
    """Between packages and between rooms; two arrows of the rooms meet in one pair of layers."""
    found = re.findall(
        r"^- \*\*(.+?)\.\*\* (.*?)(?=^- |\Z)", section("Why the arrows point this way"), re.M | re.S
    )
    explained = [tuple(pair.split(" > ")) for pair, _ in found]
    assert explained == arrows(contracts()[""]) + arrows(contracts()["securefl"])
    for pair, text in found:
        assert len(re.findall(r"[.](?=\s|$)", text)) == 3, pair


@pytest.mark.parametrize(("file", "names"), placed())
def test_page_names_what_exists(file, names):
    """Each file is there and defines each name beside it."""
    path = ROOT / file.strip("`")
    assert path.is_file()
    wanted = set(re.findall(r"`([\w.]+)`", names))
    assert wanted or path.suffix == ".toml"
    assert wanted <= (names_in(path) if wanted else set())


def test_page_answers_enough_questions():
    """A newcomer's questions, each asked once."""
    asked = [row[0] for row in rows("Where a decision stands")]
    assert len(asked) == len(set(asked)) >= 15


@pytest.mark.parametrize("file", sorted({file for file, _ in placed()}))
def test_page_s_files_lie_in_a_room(file):
    """No path of the page lies outside of the packages that it draws."""
    parts = Path(file.strip("`")).parts
    rooms = {room for layer in contracts()["securefl"] for room in layer.split(" | ")}
    assert parts[0] in {"protocols", "cli"} or parts[1] in rooms
