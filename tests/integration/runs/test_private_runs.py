"""Private training inside a run: budget, books, restarts, and what leaves a member."""

import numpy as np
import pytest

from securefl.config.load import load_config, merge
from securefl.consortium.ledger.composition import as_event
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.errors import ConfigError, InputError, SecureflError
from securefl.federation import messages as m
from securefl.federation.coordinator.scores import ScoresInClear
from securefl.federation.member.updates.local_dp import RELEASE
from securefl.federation.runs.agreement import read_run
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.evaluate import evaluate
from securefl.federation.runs.prepare import prepare
from securefl.federation.runs.repeat import RepeatDirectory, run_repeated
from securefl.federation.runs.run import run
from securefl.federation.runs.simulation import local_consortium, member_specs
from securefl.federation.runs.summary import summarise
from securefl.federation.transport.exchange import Exchange
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian
from securefl.tasks.registry import check_model
from support.small_runs import PRIVATE_PROFILE as PRIVATE


@pytest.fixture
def private_config(purchases):
    def make(**changes):
        return load_config(None, merge({**purchases, "model": {}}, merge(PRIVATE, changes)))

    return make


@pytest.fixture
def private_run(tmp_path, private_config):
    def make(name="run", **changes):
        directory = RunDirectory.create(tmp_path / name, private_config(**changes))
        return run(directory), directory

    return make


def events_of(directory, member="north"):
    """What the run was charged in the member's book."""
    run_id, book = (
        read_run(directory).hex(),
        PrivacyLedger(book_path(directory.places.books, member)),
    )
    releases = book.releases(book.run(run_id).data_set)
    return [as_event(release.mechanism) for release in releases if release.run == run_id]


@pytest.mark.parametrize(("mode", "rate"), [("plain", 1.0), ("secure", 0.5)])
def test_a_private_run_says_what_it_spent_and_keeps_to_its_budget(private_run, mode, rate):
    result, directory = private_run(mode=mode, privacy={"sampling_rate": rate})
    privacy = result.to_json()["privacy"]
    assert set(privacy) == {
        *("unit", "protects", "records_per_customer", "adjacency", "mechanism", "against"),
        *("accountant", "delta", "members"),
    }
    assert (privacy["unit"], privacy["accountant"], privacy["delta"]) == ("customer", "pld", 1e-3)
    assert [member["name"] for member in privacy["members"]] == ["north", "south", "west", "east"]
    for member in privacy["members"]:
        assert set(member) == {
            *("name", "epsilon", "noise_multiplier", "clip_norm", "sampling_rate", "steps"),
            *("customer_epsilon", "two_retailers_epsilon", "life", "cap", "cap_delta"),
            "score_noise",
        }
        assert member["life"] == pytest.approx(member["epsilon"])
        assert member["steps"] == 3 * 2
        event = SampledGaussian(member["noise_multiplier"], member["sampling_rate"], 6)
        scores = SampledGaussian(member["score_noise"], 1.0, 1)
        assert member["epsilon"] == pytest.approx(epsilon_of([event, scores], 1e-3))
        assert 2.9 < member["epsilon"] <= 3.0
    assert set(result.metrics) == {"federated", "released", "popularity_private", "naive"}
    assert directory.result().to_json() == result.to_json()
    # Choosing a round by its score would be a release of its own.
    assert result.best_round == result.rounds == 3
    assert all(record.best for record in directory.records())
    spent = [record.epsilon for record in directory.records()]
    assert spent == sorted(spent)
    # The scores of the result are charged after the last round.
    assert spent[-1] < max(member["epsilon"] for member in privacy["members"])
    assert "(3.00, 0.001)-differential privacy for every customer" in summarise(result).protection


def test_a_run_without_a_budget_says_so(small_run):
    result, directory = small_run(kind="purchases", rounds=1)
    assert result.privacy is None
    assert directory.records()[0].epsilon is None
    assert summarise(result).protection.startswith("no differential privacy")


class Watched(Exchange):
    """Keeps every answer of the members."""

    answers: list = []  # noqa: RUF012

    def replies(self, requests):
        found = super().replies(requests)
        Watched.answers += found.values()
        return found


def test_no_count_and_no_loss_leaves_a_member(private_run, monkeypatch):
    Watched.answers = []
    monkeypatch.setattr("securefl.federation.runs.run.Exchange", Watched)
    private_run(rounds=1)
    updates = [answer for answer in Watched.answers if isinstance(answer, m.Update)]
    assert len(updates) == 4
    assert {(update.samples, update.loss) for update in updates} == {(1, 0.0)}


def test_noise_differs_between_members_and_between_runs(private_run, monkeypatch):
    Watched.answers = []
    monkeypatch.setattr("securefl.federation.runs.run.Exchange", Watched)
    for name in ("a", "b"):
        private_run(name, rounds=1)
    changes = [m.unpack_vector(a.change) for a in Watched.answers if isinstance(a, m.Update)]
    assert len(changes) == 8
    correlation = np.corrcoef(np.stack(changes)) - np.eye(8)
    assert np.abs(correlation).max() < 0.9
    assert len({change.tobytes() for change in changes}) == 8


def interrupt(directory, monkeypatch, place):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, stop)
        with pytest.raises(KeyboardInterrupt):
            run(directory)


@pytest.fixture
def killed(tmp_path, private_config, monkeypatch):
    """A run of three rounds that ended in the first, after training and before its checkpoint."""
    directory = RunDirectory.create(tmp_path / "killed", private_config())
    interrupt(directory, monkeypatch, "securefl.federation.runs.run.RunDirectory.save_round")
    return RunDirectory.open(directory.path)


def test_a_round_that_was_released_is_released_again_and_not_trained_again(killed):
    before, release = events_of(killed), (killed.member_path("north") / RELEASE).read_bytes()
    assert sum(event.steps for event in before) == 2
    with pytest.MonkeyPatch.context() as patch:
        interrupt(killed, patch, "securefl.federation.runs.run.RunDirectory.save_round")
    assert events_of(killed) == before
    assert (killed.member_path("north") / RELEASE).read_bytes() == release
    result = run(killed)
    assert {member.steps for member in result.privacy.members} == {3 * 2}


def test_a_restart_resets_nothing(killed):
    before = events_of(killed)
    (killed.member_path("north") / RELEASE).unlink()
    result = run(killed)

    events = events_of(killed)
    assert events[: len(before)] == before
    # What was trained before may have been sent, so it counts, and the other rounds pay for it.
    *trained, scores = events
    assert (scores.steps, scores.sampling_rate) == (1, 1.0)
    assert sum(event.steps for event in trained) == 2 * (3 + 1)
    assert trained[-1].noise_multiplier > trained[0].noise_multiplier
    account = result.privacy.members[0]
    assert account.epsilon == pytest.approx(epsilon_of(events, 1e-3))
    assert account.epsilon <= 3.0
    assert account.noise_multiplier == events[0].noise_multiplier
    assert {member.steps for member in result.privacy.members[1:]} == {3 * 2}


def test_a_resume_at_a_checkpoint_spends_nothing_more(private_run):
    whole, directory = private_run(rounds=2)
    (directory.path / "result.json").unlink()
    assert run(RunDirectory.open(directory.path)).privacy == whole.privacy


def test_a_round_that_is_over_is_not_trained_again(private_run):
    """All its files and the coordinator's are gone; its ledger has the end of the round."""
    _, directory = private_run(rounds=1)
    (directory.path / "result.json").unlink()
    (directory.path / "checkpoint.safetensors").unlink()
    (directory.member_path("north") / RELEASE).unlink()
    before = events_of(directory)
    with pytest.raises(SecureflError, match="round 1 is over"):
        run(RunDirectory.open(directory.path))
    assert events_of(directory) == before


def test_a_coordinator_that_asks_for_more_rounds_than_agreed_gets_none(tmp_path, private_config):
    prepared = prepare(private_config(rounds=1))
    directory = RunDirectory.create(tmp_path / "run", prepared.config)
    consortium, identities = local_consortium(prepared)
    member = member_specs(prepared, directory, consortium, identities)[0].build()
    replies = [m.decode(member.handle(m.encode(m.StartRun(since=0)))[0])]
    for number in range(1, 4):
        request = m.Train(round=number, shared=m.pack_vector(prepared.shared))
        replies.append(m.decode(member.handle(m.encode(request))[0]))
    assert [type(reply) for reply in replies[1:]] == [m.Update, m.Failure, m.Failure]
    assert "round 2 was not agreed" in replies[2].text
    book = PrivacyLedger(book_path(directory.places.books, "north"))
    assert len(book.releases(1)) == 1
    assert book.refused_questions(consortium.run_id.hex()) == {"train"}


@pytest.mark.slow
def test_seeds_in_a_row_on_the_same_data_add_up(tmp_path, private_config):
    directory = RepeatDirectory.create(tmp_path / "runs", private_config(rounds=1), 2)
    result = run_repeated(directory)
    for together, single in zip(
        result.privacy.members, result.runs[0].privacy.members, strict=True
    ):
        assert together.steps == 2 * single.steps
        assert together.epsilon > 1.3 * single.epsilon
    assert "differential privacy for every customer" in summarise(result).protection


@pytest.mark.slow
def test_a_finished_private_run_is_scored_again_as_it_is_served(private_run):
    result, directory = private_run(rounds=1)
    before = events_of(directory)
    assert evaluate(directory.path).overall == result.metrics["federated"]
    assert events_of(directory) == before


@pytest.mark.slow
def test_a_damaged_book_is_one_clear_error(private_run):
    _, directory = private_run(rounds=1)
    (directory.path / "result.json").unlink()
    book = book_path(directory.places.books, "west")
    assert not book.with_name("west.sqlite-wal").exists()
    book.write_bytes(b"SQLite format 3" + bytes(200))
    with pytest.raises(InputError, match=r"west failed: .*west.sqlite"):
        run(RunDirectory.open(directory.path))


def test_delta_has_to_be_smaller_than_one_over_the_customers(private_run):
    with pytest.raises(InputError, match=r"privacy.delta: 0.2 is too large for north"):
        private_run(privacy={"delta": 0.2})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"privacy": {"dp": "local"}}, "needs a budget"),
        ({"privacy": {"epsilon": 4.0}}, "protects nobody"),
        ({"privacy": {"dp": "local", "epsilon": -1.0}}, "privacy.epsilon"),
        ({"privacy": {"dp": "local", "epsilon": 1.0, "delta": 1.0}}, "privacy.delta"),
        ({"privacy": {"dp": "local", "epsilon": 1.0, "unit": "record"}}, "cannot hide a record"),
        (
            {"task": "demand", "privacy": {"dp": "distributed", "epsilon": 1.0}},
            "trained under --dp local alone",
        ),
        (
            {"privacy": {"dp": "local", "epsilon": 1.0, "lazy_rows": 9}},
            "lazy_rows' was removed",
        ),
    ],
)
def test_what_cannot_be_promised_is_refused_before_anything_is_loaded(changes, words):
    with pytest.raises(ConfigError, match=words):
        check_model(load_config(None, changes))


def test_the_private_defaults_train_a_model_that_can_be_private():
    config = load_config(None, {"privacy": {"dp": "local", "epsilon": 4.0}})
    assert config.model.name == "profile"
    check_model(config)


@pytest.mark.slow
def test_a_test_seed_is_labelled_as_protecting_nobody(private_run):
    seed = {"privacy": {"insecure_testing_seed": 5}, "rounds": 1}
    (first, _), (second, _) = private_run("a", **seed), private_run("b", **seed)
    assert first.metrics == second.metrics
    assert "PROTECTS NOBODY" in first.privacy.mechanism
    assert summarise(first).protection.startswith("NOT PROTECTED")


def test_no_score_of_a_single_round_is_told(private_run, monkeypatch):
    """Scores are exact: one a round would tell of the same customers over and over."""
    monkeypatch.setattr("securefl.federation.coordinator.rounds._validated", asked_all_the_same)
    with pytest.raises(SecureflError, match=r"'evaluate .* is not answered .* under a budget"):
        private_run()


def asked_all_the_same(federation, state):
    source = ScoresInClear(federation.exchange)
    return source.validation(federation.members, state.round, state.shared)
