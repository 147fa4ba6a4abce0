"""Pages of auditor, lawyer and analyst: their commands, on one small private federation."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from support.paths import page

pytestmark = pytest.mark.slow
CONFIG = """\
task = "recommendation"
rounds = 2

[data]
source = "tutorial"
table = "purchases"
customers = 240
retailers = 3
interactions = [3600, 3600]

[model]
name = "profile"
rank = 2

[privacy]
dp = "local"
epsilon = 4.0
sampling_rate = 1.0
steps = 2
"""
POLICY = 'version = 1\ndata_set = "sales"\n\n[cap.customer]\nepsilon = 20.0\ndelta = 1e-3\n'


@pytest.fixture
def carry_out(cli, here, monkeypatch):
    """Runs a command of a page as it stands, `> FILE` too."""
    monkeypatch.setenv("SECUREFL_HOME", str(here / "home"))
    (here / "my.toml").write_text(CONFIG)
    (here / "policy.toml").write_text(POLICY)

    def run(words):
        place = words.index(">") if ">" in words else len(words)
        outcome = cli(*words[:place])
        assert outcome.code == 0, (words, outcome.err)
        for name in words[place + 1 :]:
            Path(name).write_text(outcome.out)
        return outcome.out

    return run


def first_block(name):
    """The commands of a page's first block, without the program."""
    block = re.search(r"```sh\n(.*?)```", page(name).read_text("utf-8"), re.DOTALL)[1]
    return [shlex.split(line, comments=True)[1:] for line in block.splitlines()]


def test_auditor_and_lawyer_on_one_run(carry_out, here):
    """The agreement of a run on one machine is `agreement.json`, as the page says."""
    carry_out(["run", "my.toml", "--out", "runs/a", "--no-references", "--quiet"])
    carry_out(["audit", "export", "runs/a", "--out", "bundle.json"])
    shutil.copy("runs/a/agreement.json", here)
    for name in ("audit.md", "dossier.md"):
        for words in first_block(name):
            carry_out([word.replace("agreement.toml", "agreement.json") for word in words])
    for folder in ("runs/a/dossier", "dossier"):
        assert (here / folder / "dossier.html").is_file()
    assert "membership" in (here / "dossier" / "dossier.json").read_text("utf-8").lower()


def test_analyst_asks_a_small_federation(carry_out):
    """Each query of the page; where it names no data, these."""
    for words in first_block("analytics.md"):
        assert carry_out(words if "my.toml" in words else [*words, "my.toml"])
