"""new-check.md adds a check with one function and one row, and it finds its manipulation."""

import re
import sys
import types
from pathlib import Path

import pytest

from securefl.audit import verify as audits
from securefl.audit.checks import registry
from support.bundle_scenario import NOW, honest
from support.pages import patched
from support.paths import page

PAGE = page("new-check.md").read_text(encoding="utf-8")
FUNCTION, MANIPULATION = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(DIFF,) = re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL)
NAME = "absences-few"


@pytest.fixture
def added(monkeypatch):
    """The check, in the registry that the audit reads."""

    def module(name, source):
        made = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, made)
        exec(compile(source, f"{name}.py", "exec"), vars(made))
        return made

    module("securefl.audit.checks.absences", FUNCTION)
    source = patched(Path(registry.__file__).read_text(encoding="utf-8"), DIFF)
    checks = module("patched_registry", source).CHECKS
    assert len(checks) == len(registry.CHECKS) + 1
    monkeypatch.setattr(audits, "CHECKS", checks)
    return next(check for check in checks if check.name == NAME)


@pytest.fixture(scope="module")
def run():
    return honest(private=False)


def found(bundle, **arguments):
    audit = audits.verify(bundle, **{"now": NOW} | arguments)
    return next(check for check in audit.checks if check.name == NAME)


def test_new_check_passes_an_honest_bundle(added, run):
    assert found(run.seal()).verdict == "pass"


def test_new_check_finds_its_manipulation(added, run):
    """With the verdict of the page's row, where it is and what can be done."""
    exec(compile(MANIPULATION, "new-check.md", "exec"), names := {})
    row = names["ROW"]
    bundle, arguments = row.act(run)
    check = found(bundle, **arguments)
    assert (row.check, row.verdict) == (NAME, check.verdict)
    assert check.reason == "retailer-4 is in 1 of 3 sums"
    assert check.where.startswith("entry ")
    assert check.remedy == added.remedy


def test_new_check_stands_in_the_reference_as_shown(added):
    assert f"| `{NAME}` | {added.claim} | {added.remedy} |" in PAGE
