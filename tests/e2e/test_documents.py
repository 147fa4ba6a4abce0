"""What the documents promise exists: the tests of SECURITY.md and its attacks, the commands."""

import ast
import json
import re
import shlex
import subprocess
import textwrap
import tomllib
from functools import cache

import click
import pytest

from securefl_cli.main import securefl
from support.paths import DOCS, ROOT, is_generated

SITE = sorted(DOCS.rglob("*.md"))
DOCUMENTS = [ROOT / "README.md", *SITE]
PAGES = [*ROOT.glob("*.md"), *SITE]
FENCE = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
WRITTEN = {"securefl/tasks/churn/quadratic.py", "securefl/audit/checks/absences.py"}
SOURCES = [
    file.relative_to(ROOT).as_posix()
    for folder in (
        "securefl",
        "protocols",
        "cli",
        "tests",
        "benchmarks",
        "website",
        "packaging",
        "examples",
    )
    for file in (ROOT / folder).rglob("*.py")
]


@cache
def defined_tests(files):
    found = set()
    for path in (ROOT / "tests").rglob(files):
        found |= set(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M))
    return found


def commands_in(path):
    for block in re.findall(r"```(?:console|sh|bash)\n(.*?)```", path.read_text("utf-8"), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            text = line.removeprefix("$ ").strip()
            if text.startswith("securefl "):
                yield text.split("  #")[0]


def option_names(command):
    return {name for p in command.params for name in (*p.opts, *p.secondary_opts)}


def names_in_security_md():
    """Pairs of file (or nothing) and test; a name that ends in an ellipsis begins several tests."""
    claims = (ROOT / "SECURITY.md", *DOCS.rglob("attacks*.md"))
    text = "".join(path.read_text("utf-8") for path in claims)
    return sorted(set(re.findall(r"`(?:([\w/]+\.py)::)?(test_\w+?(?:_…)?)`", text)))


@pytest.mark.parametrize(("file", "name"), names_in_security_md())
def test_every_test_that_security_md_names_exists(file, name):
    found = defined_tests(file or "test_*.py")
    if name.endswith("…"):
        assert any(test.startswith(name.removesuffix("…")) for test in found)
    else:
        assert name in found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_a_document_shows_exists(path):
    for text in commands_in(path):
        command, context = securefl, click.Context(securefl)
        for word in shlex.split(text)[1:]:
            if word in {">", "2>", "&", "|"}:
                break  # the shell's, from here on
            if isinstance(command, click.Group) and not word.startswith("-"):
                found = command.get_command(context, word)
                assert found is not None, f"{path.name}: {text}"
                command = found
            elif word.startswith("-"):
                known = option_names(command) | {"--help", "--version"}
                assert word.split("=")[0] in known, f"{path.name}: {text}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_relative_link_of_a_document_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        found = path.parent / target
        assert found.exists() or is_generated(found), f"{path.name} -> {target}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_python_file_that_a_page_names_exists(path):
    """By the end of its path; `WRITTEN` and names of `securefl_…` are what a reader writes."""
    named = set(re.findall(r"`((?:[\w-]+/)*\w+\.py)\b", path.read_text("utf-8")))
    for name in named:
        if not name.startswith("securefl_") and name not in WRITTEN:
            assert any(f"/{file}".endswith(f"/{name}") for file in SOURCES), name


def shell(text):
    """Have a shell read commands, and carry out none."""
    subprocess.run(["sh", "-n"], input=text, text=True, check=True, capture_output=True)


READERS = {"python": ast.parse, "toml": tomllib.loads, "json": json.loads, "sh": shell}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_block_of_code_can_be_read(path):
    """As what it says it is."""
    for language, body in FENCE.findall(path.read_text("utf-8")):
        if language in READERS:
            READERS[language](textwrap.dedent(body))
