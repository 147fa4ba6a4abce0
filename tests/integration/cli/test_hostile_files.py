"""Files that attack their reader: each ends in one line and a documented code, and quickly."""

import ast
import json
import os
import re
import time
from pathlib import Path

import pytest

import securefl
from securefl.audit.bundle.bundle import to_text
from securefl.audit.bundle.time_limit import TimeLimitError, deadline
from securefl.audit.verify import verify_file
from securefl.consortium.ledger.events import Start
from securefl.errors import InputError
from securefl.untrusted.documents import DEEPEST, parse_json, parse_toml
from securefl.untrusted.files import read_bytes
from support.bundle_mutations import CHEAT
from support.bundle_scenario import NOW, STEP, honest

SECONDS = 20.0
"""Until a refusal, with the start of a process on a busy machine."""


def fifo(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def device(path):
    path.symlink_to("/dev/tty")


def sparse(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


def folder(path):
    path.mkdir()


def loop(path):
    path.symlink_to(path)


def deep(path):
    path.write_text('{"a":' * 100_000)


def deep_toml(path):
    path.write_text("a=" + "[" * 100_000)


def dotted(path):
    path.write_text("a" + ".a" * 1_000_000 + "=1")


def digits(path):
    path.write_text("9" * 100_000)


def twice(path):
    path.write_text('{"format": "securefl-audit/1", "format": "securefl-audit/1"}')


def binary(path):
    path.write_bytes(bytes(range(256)) * 100)


def scalar(path):
    path.write_text("7")


KINDS = (fifo, endless, device, sparse, folder, loop, deep, deep_toml, dotted, digits, twice)
KINDS = (*KINDS, binary, scalar)
COMMANDS = {
    "bundle": "audit verify F",
    "explained": "audit explain F",
    "other": "audit verify bundle.json --other F",
    "model": "audit verify bundle.json --model F",
    "note": "audit witnessed bundle.json --note F --witness x",
    "pinned json": "audit verify bundle.json --agreement F.json",
    "pinned toml": "audit verify bundle.json --agreement F.toml",
    "agreement": "agreement show F.toml",
    "card": "agreement new a.toml --config c.toml --card F",
    "authority": "agreement new a.toml --config c.toml --card F --broker tls://a:1 --ca F",
    "config": "config show F",
    "query": "analytics sum spend F --epsilon 1",
    "policy": "agreement verify F.toml --policy F",
    "key": "agreement sign a.toml --key F",
    "status": "status .",
    "run": "report .",
    "facts": "doctor F.toml --key F --facts F",
    "tables": "data describe files.toml",
}
NAMES = {"status": "status.json", "run": "config.toml", "tables": "north.csv"}
FILES = """
[data]
source = "files"
catalogue = "catalogue.csv"
[[data.members]]
name = "north"
transactions = "north.csv"
"""


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_hostile_file_is_one_line(name, make, cli, here):
    """Whatever lies where a file is expected, nothing waits for it, reads it all, or breaks."""
    (here / "c.toml").write_text('[data]\nsource = "tutorial"\n')
    (here / "files.toml").write_text(FILES)
    (here / "catalogue.csv").write_text("product\n1\n")
    (here / "bundle.json").write_text(to_text(honest(rounds=1, masked=False).seal()))
    words = COMMANDS[name].split()
    for word in {NAMES.get(name, word) for word in words if word.startswith("F")} or {NAMES[name]}:
        make(here / word)
        if not (here / word).is_symlink() and (here / word).is_file():
            (here / word).chmod(0o600)
    started = time.monotonic()
    outcome = cli(*words)
    assert time.monotonic() - started < SECONDS
    assert outcome.code in {1, 2}, outcome
    assert outcome.err.count("\n") == 1, outcome
    assert outcome.err.startswith("securefl: ")


@pytest.fixture
def tree():
    """An honest bundle with masked sums, as JSON, in this folder."""
    run = honest(rounds=2)
    return run.seal(Path()).to_json()


@pytest.fixture
def written(here, tree):
    """Writes a changed bundle, and audits it in JSON."""

    def write(cli):
        (here / "bundle.json").write_text(json.dumps(tree))
        started = time.monotonic()
        outcome = cli("audit", "verify", "bundle.json", "--format", "json")
        assert time.monotonic() - started < SECONDS
        return outcome

    return write


def failed(outcome):
    return {check["name"] for check in outcome.json["checks"] if check["verdict"] == "fail"}


def test_a_transcript_named_400_times_is_refused_unread(cli, here, tree, written):
    """224 KB kept an auditor busy for minutes."""
    tree["transcripts"] = tree["transcripts"][:1] * 400
    outcome = written(cli)
    assert failed(outcome) == {"schema"}


def test_one_transcript_under_400_rounds_is_refused_unread(cli, here, tree, written):
    """The same, with numbers of rounds that differ."""
    first = tree["transcripts"][0]
    tree["transcripts"] = [first | {"round": number} for number in range(1, 401)]
    assert failed(written(cli)) == {"schema"}


@pytest.mark.parametrize("make", [fifo, endless, sparse, binary])
def test_a_hostile_transcript_is_a_finding(cli, here, tree, written, make):
    """What lies beside the bundle is as foreign as the bundle."""
    path = here / "files" / "1.transcript"
    path.unlink()
    make(path)
    outcome = written(cli)
    assert outcome.code in {1, 3}


def test_a_link_out_of_the_bundles_folder_is_not_followed(
    cli, here, tree, written, tmp_path_factory
):
    """A bundle must not make its reader open other files of theirs."""
    path = here / "files" / "1.transcript"
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "1.transcript"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    outcome = written(cli)
    assert "sums-replayed" in failed(outcome)
    assert "leads out of" in outcome.out


@pytest.mark.parametrize("dimension", [2**27, 2**53 - 1])
def test_a_claimed_dimension_allocates_nothing(cli, here, tree, written, dimension):
    """Masks of so many coordinates would fill the machine."""
    tree["claims"]["dimension"] = dimension
    outcome = written(cli)
    assert "sums-replayed" in failed(outcome)
    assert "smaller than one masked model" in outcome.out


def test_a_dear_account_ends_at_the_time_limit(cli, here):
    """Each of 120 kinds of steps is priced; the limit holds, in one line."""
    history = tuple(
        STEP.model_copy(update={"noise_multiplier": 0.5 + 0.01 * i, "steps": 3}) for i in range(120)
    )
    run = honest(rounds=1, masked=False).edited(CHEAT, Start, {"history": history})
    (here / "bundle.json").write_text(to_text(run.seal()))
    started = time.monotonic()
    outcome = cli("audit", "verify", "bundle.json", "--time-limit", "0.2")
    assert outcome.refused("takes longer than 0.2 seconds")
    assert time.monotonic() - started < SECONDS


def test_a_file_of_holes_is_refused(tmp_path):
    """Of any size that is worth it, and by whatever reads foreign files."""
    for size, refused in ((1 << 20, False), (64 << 20, True)):
        with (tmp_path / "holes").open("wb") as file:
            file.truncate(size)
        if refused:
            with pytest.raises(InputError, match="is a sparse file"):
                read_bytes(tmp_path / "holes", size)
        else:
            assert len(read_bytes(tmp_path / "holes", size)) == size


def test_a_time_limit_that_is_kept_leaves_no_timer():
    """Nor does one that is not."""
    with deadline(0.05, "a"):
        pass
    with pytest.raises(TimeLimitError, match="b takes longer"), deadline(0.01, "b"):
        time.sleep(5)
    time.sleep(0.1)


@pytest.mark.parametrize("parse", [parse_json, parse_toml])
def test_depth_has_a_limit_and_strings_have_none(parse):
    """Brackets in a string are no levels."""
    begin = "" if parse is parse_json else "a = "
    parse(begin + "[" * DEEPEST + "]" * DEEPEST if parse is parse_json else "a = [[]]", "x")
    parse(begin + json.dumps("[" * 1000), "x")
    with pytest.raises(InputError, match="nested deeper"):
        parse(begin + "[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), "x")


def test_not_a_number_is_no_json():
    """In a document of two readers it would have two meanings."""
    with pytest.raises(InputError, match="no number of JSON"):
        parse_json("[NaN, Infinity]", "x")


def test_a_file_is_read_up_to_its_limit(tmp_path):
    """Size is looked at before content; of a file that hides it, no more is read."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(InputError, match="larger than"):
        read_bytes(path, 4)
    with pytest.raises(InputError, match="larger than"):
        read_bytes(Path("/proc/self/maps"), 100)


READERS = {
    "untrusted/files.py": "the functions themselves",
    "untrusted/documents.py": "the functions themselves",
    "federation/services/page.py": "the template of this package",
    "federation/services/status_writer.py": "writes over its own status on a full disk",
    "federation/services/logging.py": "writes its own log",
    "consortium/keys/token_keys.py": "a session with a token, and no file",
    "consortium/keys/key_files.py": "keys: owner and mode are checked on the same descriptor",
    "audit/report/page.py": "the style sheet of this package",
    "config/load.py": "the defaults of this package",
    "data/sources/complete_journey/source.py": "the store map of this package",
    "consortium/ledger/digests.py": "the sources of this package",
    "tasks/served/folder.py": "a new file, opened to be written and for its owner alone",
    "data/sources/files/databases.py": "the first bytes of a database that was checked",
    "data/sources/files/locate.py": "an archive's members, within the sizes that it says",
    "data/cache.py": "digests of tables that `table_files` has checked; a cache of one's own",
}
"""Modules that read a file in another way, and why they may."""
READS = re.compile(
    r"(?:\.read_text|\.read_bytes|^open|\.open|^os\.open|json\.load|tomllib\.loads?)$"
)


def test_every_file_of_others_is_read_within_limits():
    """A new reader is found here, and reads through `untrusted.files`."""
    core = Path(securefl.__file__).parent
    found = set()
    for path in core.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not READS.search(ast.unparse(node.func)):
                continue
            words = ast.unparse(node)
            if not re.search(r"\.open\('[xawb]+'|Directory\.open\(|^files\.read_", words):
                found.add(path.relative_to(core).as_posix())
    assert found == set(READERS)


def test_an_audit_of_a_folder_reads_the_same(here, tree):
    """The limits leave an honest bundle as it was."""
    (here / "bundle.json").write_text(json.dumps(tree))
    assert verify_file(here / "bundle.json", now=NOW).verdict == "pass"
