"""One function for foreign text, and nothing that prints past it."""

import ast
import tomllib
from pathlib import Path

import pytest
import tomli_w

import securefl_cli
from securefl.untrusted.text import one_line, shown, shown_document
from securefl_cli.rendering.grid import Cell, Column, Table, columns_of, drawn, folds
from securefl_cli.rendering.screen import console
from support.hostile_text import HOSTILE, LONG, check_harmless, unseen

CLI = Path(securefl_cli.__file__).parent
PRINTERS = {"rendering/screen.py", "rendering/live.py", "rendering/reading.py"}
"""The modules that write to the reader: all pass every string through `shown`."""


def test_shown_text_is_one_visible_line():
    """Controls, overrides and line breaks become escapes; brackets and letters stay."""
    text = shown(HOSTILE)
    assert not unseen(text)
    assert "\n" not in text
    assert text.startswith(r"x\x1b[2K\x1b[1A[bold red]\u202egnp\x0d\x0aVerdict")
    assert shown("Zoë, 東京, שלום & Sons [organic]") == "Zoë, 東京, שלום & Sons [organic]"


def test_shown_text_has_a_largest_length():
    """What is cut is counted, so that a reader knows."""
    assert len(shown(LONG)) < 2_200
    assert shown("y" * 2_010).endswith("y… (10 more characters)")


def test_shown_text_has_no_towers_of_marks():
    """Combining marks without end climb over the lines above."""
    assert "\u0301" * 5 not in shown("e" + "\u0301" * 50)
    assert shown("e\u0301") == "e\u0301"


@pytest.mark.parametrize("code", [0, 0x7F, 0x9B, 0x2028, 0x2066, 0xD800, 0xFEFF, 0xE0041, 0x10FFFF])
def test_each_invisible_character_is_escaped(code):
    """Of every kind one."""
    assert shown(chr(code)).isascii()
    assert one_line(f"a{chr(code)}b").isascii()


def test_toml_keeps_its_meaning_without_invisible_characters():
    """The document is read back as it was meant, and shows nothing that acts."""
    tree = {"name": HOSTILE, "table": {"key": "\u202e\x9b"}}
    text = shown_document(tomli_w.dumps(tree))
    assert not unseen(text)
    assert tomllib.loads(text) == tree


def test_a_table_holds_whatever_its_cells_hold():
    """Every line fits, wide letters count double, and no cell ends the line."""
    rows = [(LONG, "1"), ("東京" * 40, "2"), (Cell(((HOSTILE, "bold"), ("two", "")), 500), "3")]
    table = Table((Column("Name"), Column("Figure", right=True)), rows, [("all", "6")])
    lines = ["".join(text for text, _ in line) for line in drawn(table, 60)]
    assert max(map(columns_of, lines)) <= 60
    check_harmless("\n".join(lines), named=True)


def test_the_left_edge_is_the_programs_own(monkeypatch, capsys):
    """A name that is wrapped at the right place cannot begin a line."""
    monkeypatch.setenv("COLUMNS", "40")
    for length in range(20, 44):
        console().line(f"{'y' * length} Verdict  PASS")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 24
    assert not any(line.startswith("Verdict") for line in lines)


def test_folding_loses_nothing():
    """The parts of a folded text make up the text."""
    text = "one two " + "z" * 25 + " three"
    assert "".join(folds(text, 7)).replace(" ", "") == text.replace(" ", "")
    assert all(len(part) <= 7 for part in folds(text, 7))


def _writes(path):
    """Names under which a module could write to the reader."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Call):
            yield ast.unparse(node.func)


BANNED = {
    *("rich", "logging", "print", "click.echo", "click.secho", "click.echo_via_pager"),
    *("sys.stdout.write", "sys.stderr.write", "stream.write", "click.confirm"),
}


def test_no_module_of_the_command_line_prints_past_it():
    """Whatever a command tells goes through the screen."""
    found = {
        (place, name)
        for path in CLI.rglob("*.py")
        if (place := path.relative_to(CLI).as_posix()) not in PRINTERS
        for name in _writes(path)
        if name in BANNED
    }
    assert not found
    assert {name for place in PRINTERS for name in _writes(CLI / place)} & BANNED


def test_the_core_prints_nothing():
    """It returns what it has to say; its logs are JSON."""
    core = CLI.parents[1] / "securefl"
    found = {
        (path.name, name)
        for path in core.rglob("*.py")
        for name in _writes(path)
        if name in BANNED - {"logging"} or name == "warnings.warn"
    }
    assert not found
