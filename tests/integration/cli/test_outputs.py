"""No command overwrites what is not its own: each with every kind of thing in the way."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from securefl.consortium.agreement.storage import write_card
from securefl.consortium.keys.key_files import write_clear_key
from securefl.consortium.keys.parties import key_bundle_of
from securefl.data.writers import check_table
from securefl.errors import InputError
from securefl_cli.main import main
from support.command_line import commands
from support.named_keys import key_of
from support.paths import ROOT

NAMES = ("north", "south", "west")
PASSPHRASE = "four words are better"
WRITES = {
    "run": ("new", "run ratings.toml --no-references --quiet --out new"),
    "compare": ("new", "compare ratings.toml --quiet --out new"),
    "audit export": ("new.json", "audit export run --out new.json"),
    "audit checkpoint": ("new", "audit checkpoint bundle.json --key hub.key --out new"),
    "audit sign": (
        "new",
        "audit sign bundle.json --model run/model.safetensors --key member.pem --out new",
    ),
    "report": ("new.html", "report run --out new.html"),
    "dossier": ("new", "dossier run --out new"),
    "keygen": ("north2.card", "keygen north2 --passphrase-file secret"),
    "agreement new": ("new.toml", "agreement new new.toml --config run.toml {cards}"),
    "agreement amend": ("new.toml", "agreement amend agreed.toml --days 9 --out new.toml"),
    "agreement ca": ("tls/ca.pem", "agreement ca tls --host 127.0.0.1"),
    "agreement broker-config": (
        "nats-server.conf",
        "agreement broker-config agreed.toml --tls keys --out .",
    ),
    "facts": ("new.facts", "facts ratings.toml --out new.facts"),
    "config init": ("new.toml", "config init new.toml"),
}
"""What a command writes, and the command."""
ELSEWHERE = {
    # Starts only with a broker, and creates its directory as `run` does.
    "coordinator": "run",
    # Its steps are other commands, each of which refuses what exists.
    "demo": "run",
    # Needs a member's model; `check_table` is asked below, and the command in test_predict.py.
    "predict": "check_table",
    # Not played here: `init` refuses a place that exists, and `export` in tests of its own.
    "data init": "commands/data.py",
    "data align join": "tests/unit/consortium/alignment/test_alignment.py",
    "export": "tests/unit/tasks/served/test_export.py",
}


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    """A finished run, its bundle, and an agreement with a broker; made once."""
    from contextlib import chdir

    folder = tmp_path_factory.mktemp("office")
    for name in (*NAMES, "hub"):
        write_clear_key(folder / f"{name}.key", key_of(name))
        write_card(folder / f"{name}.card", key_bundle_of(name, key_of(name)))
    (folder / "secret").write_text(f"{PASSPHRASE}\n")
    (folder / "secret").chmod(0o600)
    (folder / "run.toml").write_text('[data]\nsource = "tutorial"\n')
    (folder / "ratings.toml").write_text(
        'task = "recommendation"\nrounds = 1\n'
        'data = { source = "tutorial", customers = 60, items = 40, interactions = [300, 600] }\n'
        'model = { name = "rating-ncf", dim = 8, hidden = 16 }\n'
    )
    cards = " ".join(f"--card {name}.card" for name in NAMES)
    broker = "--coordinator hub.card --broker tls://127.0.0.1:4222 --ca keys/ca.pem"
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECUREFL_HOME", str(folder / "home"))
        patch.setenv("SECUREFL_PASSPHRASE", PASSPHRASE)
        for words in (
            "run ratings.toml --no-references --quiet --out run",
            "audit export run --out bundle.json",
            "agreement ca keys --host 127.0.0.1",
            f"agreement new agreed.toml --config run.toml {cards} {broker}",
            *(f"agreement sign agreed.toml --key {name}.key" for name in NAMES),
        ):
            assert main(words.split()) == 0, words
    identity = sorted((folder / "run" / "members").glob("*/identity.pem"))[0]
    shutil.copy(identity, folder / "member.pem")
    return folder


@pytest.fixture
def place(office, here, monkeypatch):
    """A copy of the office, in which one command works."""
    monkeypatch.setenv("SECUREFL_PASSPHRASE", PASSPHRASE)
    shutil.copytree(office, here, dirs_exist_ok=True)
    return here


def test_every_command_with_an_output_is_in_the_table():
    """A new one comes with its row."""
    found = {
        name
        for name, command in commands()
        if {"--out", "--output"} & {word for p in command.params for word in p.opts}
    }
    assert found <= set(WRITES) | set(ELSEWHERE), found - set(WRITES)
    assert set(WRITES) <= {name for name, _ in commands()}


def tree(folder):
    """Everything in a folder, links as links."""
    return {
        path.relative_to(folder).as_posix(): (
            str(path.readlink()) if path.is_symlink() else path.is_file() and path.read_bytes()
        )
        for path in folder.rglob("*")
        if "home" not in path.parts
    }


def laid(target):
    """Lay each kind of thing in the way, one after the other."""
    target.parent.mkdir(parents=True, exist_ok=True)
    treasure = target.parent / "treasure"
    treasure.write_bytes(b"a ledger, a model, or a thesis")
    shutil.copy(treasure, target)
    yield "a file"
    target.unlink()
    target.mkdir()
    shutil.copy(treasure, target / "treasure")
    yield "a folder with something in it"
    shutil.rmtree(target)
    target.symlink_to(treasure.name)
    yield "a link to a file"
    target.unlink()
    target.symlink_to("nowhere")
    yield "a link that leads nowhere"
    target.unlink()
    treasure.unlink()


@pytest.mark.parametrize("name", WRITES)
def test_nothing_of_others_is_overwritten(name, place, cli):
    """Refused in one line, with every byte as it was; in a free place it is written."""
    file, words = WRITES[name]
    cards = " ".join(f"--card {member}.card" for member in NAMES)
    arguments = words.format(cards=cards).split()
    for kind in laid(place / file):
        before = tree(place)
        outcome = cli(*arguments)
        assert outcome.refused(file.rpartition("/")[2].partition(".")[0]), kind
        assert tree(place) == before, kind
    assert cli(*arguments).code == 0
    assert (place / file).exists()


def test_predictions_overwrite_nothing(tmp_path):
    """What `predict` asks before it opens a model."""
    file = tmp_path / "folder" / "new.csv"
    for kind in laid(file):
        before = tree(tmp_path)
        with pytest.raises(InputError, match="nothing was written"):
            check_table(file)
        assert tree(tmp_path) == before, kind
    check_table(file)


@pytest.mark.parametrize("kind", ["audit export", "report"])
def test_a_runs_own_files_are_no_output(kind, place, cli):
    """A wrong --out does not destroy the ledger that was to be exported."""
    before = tree(place)
    for file in ("ledger.sqlite", "model.safetensors", "config.toml", "result.json"):
        assert cli(*kind.split(), "run", "--out", f"run/{file}").refused(file, "nothing was")
    assert tree(place) == before


def test_reading_commands_write_nothing_into_a_run(place, cli):
    """A run may lie in an archive or still be going on: no file in it comes, goes or is touched."""
    run = place / "run"

    def touched():
        return {path: path.stat().st_mtime_ns for path in (run, *run.rglob("*"))}

    before = touched()
    for words in (
        "report run --out page.html",
        "dossier run --out papers",
        "audit export run --out b.json --open-units",
        "audit verify b.json",
    ):
        assert cli(*words.split()).code != 2, words
        assert touched() == before, words


def test_an_archive_is_no_place_for_a_page(place, cli, monkeypatch):
    """Said before the work, with what to do; `access` answers like this on a read-only medium."""
    honest = os.access

    def access(path, mode, **named):
        return honest(path, mode, **named) and not (mode & os.W_OK and os.fspath(path) == "run")

    monkeypatch.setattr(os, "access", access)
    for command in ("report", "dossier"):
        refused = cli(command, "run")
        assert refused.refused(f"cannot write run/{command}", "in run; name another place (--out)")


def test_the_bundle_of_another_run_stays(place, cli):
    """It may be the only one; that of the same run is made anew."""
    path = place / "bundle.json"
    run = json.loads(path.read_text())["run"]
    path.write_text(path.read_text().replace(run, "0" * 64))
    before = tree(place)
    assert cli("audit", "export", "run", "--out", "bundle.json").refused("bundle of another run")
    assert tree(place) == before


def test_the_report_of_another_run_stays(place, cli):
    """As its bundle does; that of the same run is made anew."""
    for _ in range(2):
        assert cli("report", "run", "--out", "page.html").code == 0
    shutil.copytree("run", "other")
    result = json.loads((place / "other" / "result.json").read_text())
    (place / "other" / "result.json").write_text(json.dumps(result | {"seconds": 1.5}))
    before = tree(place)
    refused = cli("report", "other", "--out", "page.html")
    assert refused.refused("page.html exists and is the report of another run; nothing was written")
    assert tree(place) == before


def test_a_bundle_follows_no_link_for_its_files(place, cli):
    """Transcripts go to a folder beside it, and not to where a link leads."""
    run = json.loads((place / "bundle.json").read_text())["run"][:16]
    files = place / f"files-{run}"
    shutil.rmtree(files)
    (place / "other").mkdir()
    files.symlink_to("other")
    before = tree(place)
    assert cli("audit", "export", "run", "--out", "b.json").refused(files.name, "no folder")
    assert tree(place) == before


LEFT = """
import os, sys
from securefl_cli import main, verifier
read = [["verify", sys.argv[1]], ["explain", sys.argv[1], "--format", "json"]]
calls = [(main.main, ["audit", *words]) for words in read] + [(main.main, ["--help"])]
for call, words in [*calls, *((verifier.main, words) for words in read)]:
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)
    print(call(words), file=sys.stderr)
"""


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_failed_check():
    """`verify | head -1` ends as other programs in a pipe do: 1 would say that a check failed."""
    vector = ROOT / "tests" / "vectors" / "bundles" / "honest.json"
    done = subprocess.run(
        [sys.executable, "-c", LEFT, vector], capture_output=True, text=True, check=False
    )
    assert done.stderr.split() == ["141"] * 5
