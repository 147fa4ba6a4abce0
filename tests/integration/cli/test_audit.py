"""An auditor at the command line: a run, its bundle, a verdict."""

import json
import re

import pytest

from securefl.audit.checks.not_proved import NOT_PROVED
from securefl.audit.checks.registry import CHECKS, SCHEMA
from securefl.audit.verify import EXIT_CODES
from support.paths import page


@pytest.fixture
def bundle(cli, ratings, here, monkeypatch):
    """A masked run, exported."""
    monkeypatch.setenv("SECUREFL_HOME", str(here / "home"))
    assert cli("run", ratings, "--out", "run", "--no-references", "--quiet").code == 0
    outcome = cli("audit", "export", "run", "--out", "bundle.json", "--open-units")
    assert outcome.code == 0
    assert "securefl audit verify bundle.json" in outcome.out
    return here / "bundle.json"


def test_a_run_is_exported_verified_and_explained(cli, bundle):
    outcome = cli("audit", "verify", bundle, "--agreement", "run/agreement.json")
    assert outcome.code == 0
    for check in CHECKS:
        assert check.name in outcome.out
    assert "PASS" in outcome.out.splitlines()[-1]
    for limit in NOT_PROVED:
        assert limit.split()[3] in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 100
    told = cli("audit", "verify", bundle, "--format", "json").json
    found = {check["name"]: check["verdict"] for check in told["checks"]}
    assert told["verdict"] == "pass"
    assert found["models-from-sums"] == found["sums-replayed"] == "pass"
    assert {"fail", "warn"}.isdisjoint(found.values())
    story = cli("audit", "explain", bundle)
    assert "no noise hides a customer" in story.out
    assert cli("audit", "explain", bundle, "--format", "json").json["rounds"] == 3


def test_the_verdict_is_the_exit_code(cli, bundle):
    tree = json.loads(bundle.read_text())
    bundle.write_text(json.dumps(tree | {"transcripts": [], "heads": tree["heads"][:-1]}))
    outcome = cli("audit", "verify", bundle, "--format", "json")
    assert outcome.code == EXIT_CODES["fail"] == 1
    assert outcome.json["verdict"] == "fail"
    text = cli("audit", "verify", bundle)
    assert "What to do" in text.out
    bundle.write_text(json.dumps(tree))
    for file in bundle.parent.glob("files-*/round-*"):
        file.unlink()
    assert cli("audit", "verify", bundle).code == EXIT_CODES["warn"] == 3


def test_a_run_that_was_tried_again_is_audited_like_any_other(cli, interrupted, here, monkeypatch):
    monkeypatch.setenv("SECUREFL_HOME", str(here / "home"))
    assert interrupted().code == 130
    assert cli("run", "--resume", "begun", "--quiet").code == 0
    cli("audit", "export", "begun", "--out", "bundle.json")
    told = cli("audit", "verify", "bundle.json", "--format", "json").json
    assert told["verdict"] == "pass", [c for c in told["checks"] if c["verdict"] != "pass"]


def test_what_an_auditor_gets_wrong_is_one_line(cli, here):
    (here / "empty.json").write_text("{}")
    cli("audit", "verify", "empty.json").refused("empty.json is no bundle")
    cli("audit", "explain", "empty.json").refused("empty.json is no bundle")
    cli("audit", "verify", "none.json").refused("none.json")
    cli("audit", "export", "none", "--out", "x.json").refused("no run directory")
    assert not (here / "x.json").exists()


def test_every_check_is_documented_as_it_is_in_the_code():
    text = page("audit-checks.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| [^|]+ \|$", text, re.M)
    assert names[names.index(SCHEMA) :] == [SCHEMA, *(check.name for check in CHECKS)]
    for check in CHECKS:
        assert f"| `{check.name}` | {check.claim} | {check.remedy} |" in text


def test_every_limit_is_documented():
    text = " ".join(page("audit.md").read_text(encoding="utf-8").split())
    for limit in NOT_PROVED:
        assert limit in text
