"""Runs with a ledger: what is written, who refuses, and what a kill at any point leaves."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from securefl.config.load import dump_toml, load_config, merge
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.hash_chain import canonical, check_chain, read_entry
from securefl.consortium.ledger.merkle import leaf_hash, root
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.consortium.ledger.transcripts import transcript_path
from securefl.consortium.ledger.transparency_log import open_log
from securefl.consortium.ledger.tree_heads import check_countersignature
from securefl.errors import InputError, SecureflError
from securefl.federation.coordinator.ledger_recorder import Recorder
from securefl.federation.member.member import Member
from securefl.federation.runs.agreement import KEY, read_agreement, read_run
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.evaluate import evaluate
from securefl.federation.runs.run import run
from securefl.ml.tensor_io import read_tensors
from securefl.ml.vectors import model_digest
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian
from securefl.tasks.demand.task import DemandTask
from securefl_protocols.wire.transcript import Transcript

NAMES = ("north", "south", "west", "east")
DELTA = 1e-3
PRIVATE = {
    "mode": "plain",
    "rounds": 2,
    "model": {"name": "profile", "rank": 2},
    "privacy": {
        "dp": "local",
        "epsilon": 3.0,
        "delta": DELTA,
        "sampling_rate": 1.0,
        "expected_batch": 20.0,
        "steps": 2,
    },
}
POLICY = """\
version = 1
data_set = "customers"
modes = ["plain", "secure"]

[cap.customer]
epsilon = {epsilon}
delta = 1e-3
"""
DEMAND_POLICY = """\
version = 1
data_set = "sales"
dp = ["none"]
modes = {modes}
"""


@pytest.fixture
def private(purchases):
    def make(**changes):
        return load_config(None, merge({**purchases, "model": {}}, merge(PRIVATE, changes)))

    return make


@pytest.fixture
def policies(tmp_path):
    """Makes a folder of policies: one text for all but those that are named."""

    def make(text, **others):
        folder = tmp_path / "policies"
        folder.mkdir(exist_ok=True)
        for name in NAMES:
            (folder / f"{name}.toml").write_text(others.get(name, text))
        return folder

    return make


def begin(path, config, policy=None):
    return RunDirectory.create(path, config, LedgerPaths.usual(None, policy))


def consortium(directory):
    return Consortium(read_agreement(directory), read_run(directory))


def log_of(directory):
    return open_log(directory.ledger_path, consortium(directory))


def events(directory, name):
    log = log_of(directory)
    entries = [read_entry(data).entry for data in log.entries()]
    return [entry.event for entry in entries if entry.member == name]


def kinds(directory, name):
    return [event.kind for event in events(directory, name)]


@pytest.mark.parametrize("mode", ["plain", "secure"])
def test_a_run_leaves_a_log_that_everybody_signed(small_run, mode):
    result, directory = small_run(mode=mode, rounds=2)
    assert result.ledger == str(directory.ledger_path)
    agreed, log = consortium(directory), log_of(directory)
    keys = dict(zip(agreed.roster.names, agreed.roster.identities, strict=True))
    signed = [read_entry(data) for data in log.entries()]
    for name, key in keys.items():
        check_chain([one for one in signed if one.entry.member == name], key)
        assert kinds(directory, name) == ["start", *["release", "outcome"] * 2, "end"]
    for head in log.heads():
        leaves = [leaf_hash(canonical(one)) for one in signed[: head.head.size]]
        assert root(leaves).hex() == head.head.root
        assert set(head.signatures) == set(keys)
        for name, signature in head.signatures.items():
            check_countersignature(head.head, bytes.fromhex(signature), keys[name], member=name)
    assert log.heads()[-1].head.size == len(signed)


def test_entries_say_what_happened(small_run):
    _, directory = small_run(mode="secure", rounds=2)
    name = consortium(directory).roster.names[0]
    start, first, one, second, two, end = events(directory, name)
    assert start.config != start.code
    assert first.mechanism is None
    assert (first.mode, first.dp, first.threshold) == ("secure", "none", 4)
    assert first.model_before != one.model_after == second.model_before != two.model_after
    assert end.rounds == 2
    tensors, _ = read_tensors(directory.path / "checkpoint.safetensors")
    assert two.model_after == model_digest(tensors["shared"].numpy()).hex()
    for outcome in (one, two):
        content = transcript_path(directory.transcripts, outcome.round).read_bytes()
        assert Transcript.from_bytes(content).digest().hex() == outcome.transcript
        assert outcome.survivors == consortium(directory).roster.names


def test_transcripts_are_kept_as_far_as_there_is_room(small_run):
    _, none = small_run("none", mode="secure", rounds=1, ledger={"transcript_mebibytes": 0})
    assert not none.transcripts.exists()
    assert events(none, consortium(none).roster.names[0])[2].transcript is not None


def test_a_result_says_what_each_round_took(small_run):
    result, directory = small_run(mode="secure", rounds=2)
    assert [cost.round for cost in result.history] == [1, 2]
    for cost in result.history:
        assert set(cost.bytes_up) == set(cost.bytes_down) == set(cost.survivors)
        assert min(cost.bytes_up.values()) > 1000
    assert result.refusals == ()
    assert directory.result().to_json() == result.to_json()


def test_the_same_keys_and_name_serve_the_run_when_it_goes_on(small_run):
    _, directory = small_run(rounds=1)
    name = consortium(directory).roster.names[0]
    assert (directory.member_path(name) / KEY).stat().st_mode & 0o777 == 0o600
    before = consortium(directory).digest(), read_run(directory)
    (directory.path / "result.json").unlink()
    run(RunDirectory.open(directory.path))
    assert (consortium(directory).digest(), read_run(directory)) == before
    assert kinds(directory, name) == ["start", "release", "outcome", "end"]


@pytest.mark.parametrize("mode", ["plain", "secure"])
def test_the_others_go_on_without_the_member_whose_policy_forbids_the_run(
    tmp_path, private, policies, monkeypatch, mode
):
    forbids = POLICY.format(epsilon=9.0).replace('"customers"', '"customers"\ntasks = ["demand"]')
    built = []
    monkeypatch.setattr(Member, "__init__", _noting(Member.__init__, built))
    config = private(mode=mode)
    directory = begin(tmp_path / "run", config, policies(POLICY.format(epsilon=9.0), west=forbids))
    result = run(directory)

    assert [(one.member, one.round) for one in result.refusals] == [("west", 0)]
    assert "does not allow the task" in result.refusals[0].reason
    assert [member.name for member in result.members] == ["north", "south", "east"]
    assert {record.survivors for record in directory.records()} == {("north", "south", "east")}
    # It never got as far as to look at a datum, and says so under its own signature.
    assert set(built) == {"north", "south", "east"}
    assert kinds(directory, "west") == ["refusal"]
    assert evaluate(directory.path).overall == result.metrics["federated"]


def _noting(method, names):
    def noted(self, spec, *rest):
        names.append(spec.name)
        method(self, spec, *rest)

    return noted


def test_no_reference_pools_the_data_of_a_member_that_refuses(tmp_path, small_config, monkeypatch):
    folder, pooled = tmp_path / "policies", []
    folder.mkdir()
    names = [f"retailer-{number}" for number in range(5)]
    for name in names:
        mode = "plain" if name == "retailer-3" else "secure"
        (folder / f"{name}.toml").write_text(DEMAND_POLICY.format(modes=f'["{mode}"]'))
    pool = DemandTask.pool
    monkeypatch.setattr(DemandTask, "pool", lambda *args: pooled.append(args[1]) or pool(*args))
    config = small_config(rounds=1, references={"enabled": True})
    result = run(begin(tmp_path / "run", config, folder))
    left = [name for name in names if name != "retailer-3"]
    assert [[member.name for member in members] for members in pooled] == [left]
    assert [member.name for member in result.members] == left
    assert {"alone", "pooled", "federated"} < set(result.members[0].metrics)


def test_nothing_is_trained_if_everybody_refuses(tmp_path, private, policies):
    text = POLICY.format(epsilon=9.0).replace('["plain", "secure"]', '["secure"]')
    with pytest.raises(InputError, match=r"no member takes part: north refused: .* the mode"):
        run(begin(tmp_path / "run", private(), policies(text)))


def price(rounds, sigma):
    return epsilon_of([SampledGaussian(sigma, 1.0, 2)] * rounds, DELTA)


def sigma_of(directory, name):
    return next(
        e.mechanism.noise_multiplier for e in events(directory, name) if e.kind == "release"
    )


@pytest.mark.parametrize("mode", [pytest.param("plain", marks=pytest.mark.slow), "secure"])
def test_a_member_refuses_the_round_that_would_exceed_its_cap(tmp_path, private, policies, mode):
    config = private(mode=mode, privacy={"scores": 0.0})
    first = begin(tmp_path / "first", config)
    run(first)
    sigma = sigma_of(first, "west")
    low = POLICY.format(epsilon=price(3, sigma) + 1e-6)
    folder = policies(POLICY.format(epsilon=99.0), west=low)

    second = begin(tmp_path / "second", config, folder)
    result = run(second)
    # Two rounds of the first run and one of this are in the cap; the fourth is not.
    assert [(one.member, one.round) for one in result.refusals] == [("west", 2)]
    assert "the cap of its policy" in result.refusals[0].reason
    assert [record.survivors for record in second.records()] == [
        NAMES,
        ("north", "south", "east"),
    ]
    # It is in no sum of the round that it refused, and so does not say how that ended.
    ended = ["refusal", "unseen-outcome", "end"]
    assert kinds(second, "west") == ["start", "release", "outcome", *ended]
    accounts = {member.name: member for member in result.privacy.members}
    assert accounts["west"].life == pytest.approx(price(3, sigma))
    assert accounts["west"].cap == pytest.approx(price(3, sigma) + 1e-6)
    assert accounts["north"].life == pytest.approx(price(4, sigma))

    third = run(begin(tmp_path / "third", config, folder))
    assert [(one.member, one.round) for one in third.refusals] == [("west", 1)]


KILLED = """\
import os, signal, sys
from pathlib import Path
from importlib import import_module
import torch
torch.set_num_threads(1)
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

module, attribute = sys.argv[2].split(":")
owner, name = attribute.split(".")
setattr(getattr(import_module(module), owner), name, die)
run(RunDirectory.open(Path(sys.argv[1])))
"""


def killed_at(directory, place):
    """Run in a process of its own that is killed with SIGKILL when it gets to a place."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(directory.path), place],
        check=False,
        capture_output=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]


def charged(directory, name):
    book, run_id = PrivacyLedger(book_path(directory.places.books, name)), read_run(directory).hex()
    row = book.run(run_id)
    releases = book.releases(row.data_set) if row else ()
    return [one for one in releases if one.run == run_id and one.round <= directory.config.rounds]


@pytest.mark.slow
def test_a_kill_between_charge_and_release_never_under_counts(tmp_path, private):
    directory = begin(tmp_path / "run", private())
    killed_at(directory, "securefl.privacy.dpsgd.trainer:PrivateTrainer.step")
    # The first member had written down what its round costs, and had drawn nothing yet.
    assert [len(charged(directory, name)) for name in NAMES] == [1, 0, 0, 0]

    result = run(RunDirectory.open(directory.path))
    assert [len(charged(directory, name)) for name in NAMES] == [3, 2, 2, 2]
    accounts = {member.name: member for member in result.privacy.members}
    assert accounts["north"].epsilon > accounts["south"].epsilon - 0.2
    assert accounts["north"].steps == 6
    assert max(member.epsilon for member in result.privacy.members) <= 3.0
    assert kinds(directory, "north")[:3] == ["start", "release", "release"]


@pytest.mark.slow
def test_a_kill_after_the_release_does_not_pay_twice(tmp_path, private):
    directory = begin(tmp_path / "run", private())
    killed_at(directory, "securefl.federation.runs.directory:RunDirectory.save_round")
    assert [len(charged(directory, name)) for name in NAMES] == [1, 1, 1, 1]

    result = run(RunDirectory.open(directory.path))
    assert [len(charged(directory, name)) for name in NAMES] == [2, 2, 2, 2]
    assert {member.steps for member in result.privacy.members} == {4}
    for name in NAMES:
        releases = [event for event in events(directory, name) if event.kind == "release"]
        assert [event.repeat_of for event in releases] == [None, 1, None]


@pytest.mark.slow
def test_a_kill_between_checkpoint_and_ledger_leaves_no_gap(tmp_path, private):
    directory = begin(tmp_path / "run", private(privacy={"scores": 0.0}))
    killed_at(directory, "securefl.federation.coordinator.ledger_recorder:Recorder.conclude")
    assert len(RunDirectory.open(directory.path).records()) == 1
    run(RunDirectory.open(directory.path))
    for name in NAMES:
        assert kinds(directory, name) == ["start", *["release", "outcome"] * 2, "end"]


@pytest.mark.slow
def test_a_kill_before_the_signatures_are_kept_is_made_good(tmp_path, private):
    directory = begin(tmp_path / "run", private())
    killed_at(directory, "securefl.consortium.ledger.transparency_log:Log.countersigned")
    run(RunDirectory.open(directory.path))
    *_, last = log_of(directory).heads()
    assert set(last.signatures) == set(NAMES)


def test_a_lost_log_is_one_line(small_run):
    _, directory = small_run(rounds=1)
    for name in ("result.json", "ledger.sqlite"):
        (directory.path / name).unlink()
    with pytest.raises(SecureflError, match="does not extend the one of 20 that was signed"):
        run(RunDirectory.open(directory.path))


def test_a_book_that_lost_entries_is_one_line(small_run):
    _, directory = small_run(rounds=1)
    (directory.path / "result.json").unlink()
    name = consortium(directory).roster.names[1]
    book_path(directory.places.books, name).unlink()
    with pytest.raises(SecureflError, match="has 1 of this run's 4 entries"):
        run(RunDirectory.open(directory.path))


@pytest.mark.parametrize("name", ["agreement.json", "run.json", "places.toml"])
def test_a_damaged_identity_of_a_run_is_one_line(small_run, name):
    _, directory = small_run(rounds=1)
    (directory.path / "result.json").unlink()
    (directory.path / name).write_text("{")
    with pytest.raises(InputError, match=name):
        run(RunDirectory.open(directory.path))


def test_a_run_directory_under_other_settings_is_one_line(small_run, small_config):
    _, directory = small_run(rounds=1)
    (directory.path / "result.json").unlink()
    (directory.path / "config.toml").write_text(dump_toml(small_config(rounds=2)))
    with pytest.raises(InputError, match="other members or settings"):
        run(RunDirectory.open(directory.path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"survivors": NAMES[:3]}, "has other survivors"),
        ({"model": bytes(32)}, "ended with another model"),
        ({"round": 1, "model": bytes(32)}, "ended otherwise before"),
    ],
)
def test_a_member_does_not_sign_an_outcome_that_it_knows_to_be_wrong(
    small_run, monkeypatch, changes, words
):
    encode = Recorder.conclude

    def lie(self, members, **told):
        names = told["survivors"]
        wrong = changes | ({"survivors": names[:-1]} if "survivors" in changes else {})
        wrong = {("number" if key == "round" else key): value for key, value in wrong.items()}
        encode(self, members, **(told | (wrong if told["number"] == 2 else {})))

    monkeypatch.setattr(Recorder, "conclude", lie)
    with pytest.raises(SecureflError, match=words):
        small_run(mode="secure", rounds=2)
