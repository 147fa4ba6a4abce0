"""docs/glossary.md explains the names that formats keep, and they are where it says."""

import re
from pathlib import Path

import pytest

from support.paths import page

ROOT = Path(__file__).parents[1]
PAGE = page("glossary.md").read_text(encoding="utf-8")
WORDS, FROZEN = PAGE.split("## Old names that formats keep")


def rows(text):
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith(("| word", "| name")):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def frozen():
    """Each old name, where it is found, and what the code calls it now if that is a class."""
    for names, _, meaning, file in rows(FROZEN):
        classes = re.findall(r"`([A-Z]\w+)`", meaning)
        for name in re.findall(r"`([^`]+)`", names):
            yield pytest.param(name, classes, file.strip("`"), id=name)


@pytest.mark.parametrize(("name", "classes", "file"), list(frozen()))
def test_frozen_name_stands_where_the_glossary_says(name, classes, file):
    """A string, the end of one, or a field; a class that is meant stands beside it."""
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"{re.escape(name)}\"|^    {re.escape(name)}: ", text, re.M)
    for meant in classes:
        assert re.search(rf"^class {meant}\b", text, re.M)


def test_every_old_message_kind_is_in_the_glossary():
    """A kind that is not its class's name in other letters needs an explanation."""
    explained = {name.values[0] for name in frozen()}
    for file in (ROOT / "securefl" / "federation" / "messages").glob("*.py"):
        source = file.read_text(encoding="utf-8")
        for name, kind in re.findall(
            r'^class (\w+)\(.*?kind: Literal\["([\w-]+)"\]', source, re.M | re.S
        ):
            plain = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
            assert kind == plain or kind in explained, name


def test_glossary_has_each_word_once_in_order():
    """Sorted within each section, so that a word is found by looking."""
    for section in WORDS.split("\n## ")[1:]:
        words = [row[0] for row in rows(section)]
        assert words == sorted(set(words))
        assert len(words) > 5


def test_readme_links_the_glossary():
    """Where a newcomer begins."""
    assert "(docs/glossary.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
