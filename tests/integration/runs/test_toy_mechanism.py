"""docs/howto/new-mechanism.md adds a mechanism as it says, and a whole run goes through."""

import re
import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest

from securefl.audit.export import audit_run
from securefl.config import privacy as privacy_config
from securefl.config.load import load_config, merge
from securefl.consortium.ledger.composition import as_event, compose
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.consortium.ledger.releases import recorded_mechanism
from securefl.errors import ConfigError
from securefl.federation.runs.agreement import read_run
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare
from securefl.federation.runs.run import run
from securefl.federation.runs.summary import summarise
from securefl.privacy.accounting import events
from securefl.privacy.accounting.accountant import UnsupportedEventError, epsilon_of
from securefl.privacy.accounting.events import DpEvent, SampledGaussian
from securefl.privacy.mechanisms import mechanism_for, register, registry
from support.local_noise import silence
from support.paths import page

PAGE = page("new-mechanism.md").read_text(encoding="utf-8")
FILE, REGISTRATION, SHOWN = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def imported(source):
    """What an import of the page's file gives."""
    module = sys.modules["securefl_output"] = types.ModuleType("securefl_output")
    exec(compile(source, "securefl_output.py", "exec"), vars(module))
    return module


OutputPerturbation = imported(FILE).OutputPerturbation
NoisedUpdates = sys.modules["securefl_output"].NoisedUpdates


@dataclass(frozen=True)
class LaplaceDpEvent(DpEvent):
    """What no accountant here knows."""

    scale: float


@dataclass(frozen=True)
class SampledLaplace(SampledGaussian):
    """An event with a name of its own in ledgers, and no price."""

    recorded_as = "toy-laplace"

    def mechanism(self):
        return LaplaceDpEvent(self.noise_multiplier)


class Unpriced(OutputPerturbation):
    dp = "unpriced"
    events = (SampledLaplace,)

    def event(self, sigma, steps, sampling_rate):
        return SampledLaplace(sigma, sampling_rate, steps)


class UnpricedAndUnchecked(Unpriced):
    """Also under a coordinator that does not look."""

    dp = "unchecked"

    def check(self, config, members, dimension):
        pass


@pytest.fixture
def registered(monkeypatch):
    """The page's registration, for one test."""
    monkeypatch.setattr(registry, "_MECHANISMS", list(registry._MECHANISMS))
    monkeypatch.setattr(privacy_config, "_registered", list(privacy_config._registered))
    monkeypatch.setattr(events, "_RECORDED", dict(events._RECORDED))
    exec(compile(REGISTRATION, "new-mechanism.md", "exec"), {})


@pytest.fixture
def toys(registered):
    """Two more that no accountant has a price for."""
    for kind in (Unpriced, UnpricedAndUnchecked):
        register(kind)


@pytest.fixture
def config(toys, purchases):
    def make(dp="output", **changes):
        privacy = {"dp": dp, "epsilon": 3.0, "delta": 1e-3, "sampling_rate": 1.0, "steps": 1}
        # Noise on whole updates goes beyond the default range of a coordinate.
        secure = {"limit": 64.0}
        chosen = {"model": {"name": "profile", "rank": 2}, "privacy": privacy, "secure": secure}
        return load_config(None, merge({**purchases, "model": {}}, merge(chosen, changes)))

    return make


@pytest.mark.slow
def test_page_s_mechanism_runs_as_shown(registered, tmp_path, monkeypatch):
    """In both modes, charged by the same ledgers, verified by the audit."""
    monkeypatch.setenv("SECUREFL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    exec(compile(SHOWN, "new-mechanism.md", "exec"), {"__name__": "__main__"})


def test_page_s_mechanism_clips_what_it_releases(registered, config, tmp_path, monkeypatch):
    """Without noise, the release is the plain update cut to the clip norm."""
    seen = []
    silence(monkeypatch)
    train = NoisedUpdates.train
    monkeypatch.setattr(
        NoisedUpdates,
        "train",
        lambda self, number: seen.append(train(self, number)) or seen[-1],
    )
    run(RunDirectory.create(tmp_path / "run", config(rounds=1, privacy={"clip_norm": 1e-3})))
    assert [np.linalg.norm(one.change) for one in seen] == [pytest.approx(1e-3, rel=2e-3)] * 4
    assert {one.loss for one in seen} == {0.0}


@pytest.mark.parametrize("mode", ["plain", "secure"])
def test_toy_mechanism_runs_to_ledger_and_table(config, tmp_path, mode):
    """It is charged before it trains, recorded, priced again, reported and audited."""
    directory = RunDirectory.create(tmp_path / "run", config(mode=mode))
    result = run(directory)
    assert result.rounds == 3
    assert result.privacy.mechanism == "Gaussian (whole updates, clipped, local noise)"
    assert "released" in result.metrics
    run_id = read_run(directory).hex()
    for account in result.privacy.members:
        book = PrivacyLedger(book_path(directory.places.books, account.name))
        charged = [release.mechanism for release in book.releases(book.run(run_id).data_set)]
        assert [(m.name, m.steps, m.unit) for m in charged] == [
            ("sampled-gaussian", 1, "customer")
        ] * 4  # three rounds, and the scores
        assert account.epsilon == pytest.approx(compose(charged, 1e-3, "pld"))
        assert account.epsilon == epsilon_of(list(map(as_event, charged)), 1e-3)
        assert 2.9 < account.epsilon <= 3.0
    shown = summarise(result)
    names = [account.name for account in result.privacy.members]
    assert all([row[0] for row in table.rows] == names for table in shown.tables)
    assert "(3.00, 0.001)-differential privacy for every customer" in shown.protection
    assert audit_run(directory.path).verdict == "pass"


def test_toy_mechanism_repeats_a_round_without_paying_twice(config, tmp_path, monkeypatch):
    """A run that was killed after a member's release sends the same one again."""
    directory = RunDirectory.create(tmp_path / "run", config(rounds=2))
    with monkeypatch.context() as patch:
        patch.setattr("securefl.federation.member.rounds.MemberLedger.trained", _killed)
        with pytest.raises(KeyboardInterrupt):
            run(directory)
    result = run(RunDirectory.open(tmp_path / "run"))
    assert [account.steps for account in result.privacy.members] == [2, 2, 2, 2]


def _killed(_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("dp", ["unpriced", "unchecked"])
def test_toy_event_without_a_price_is_refused(config, tmp_path, dp, monkeypatch):
    """Before anything is trained, by the coordinator, and by members if it does not look."""
    monkeypatch.setattr(NoisedUpdates, "train", _killed)
    directory = RunDirectory.create(tmp_path / "run", config(dp))
    with pytest.raises(ConfigError, match="no accountant has a price for"):
        run(directory)
    assert not directory.records()


def test_toy_event_is_refused_where_a_run_is_prepared(config):
    """`prepare` is the last step in which nothing was charged to any member."""
    with pytest.raises(UnsupportedEventError):
        prepare(config("unpriced"))


def test_toy_event_is_read_back_from_its_record(config):
    """A name of its own in ledgers needs nothing beside the registration."""
    settings, event = config("unpriced").privacy, SampledLaplace(2.0, 1.0, 3)
    recorded = recorded_mechanism(settings, event, 1.0, "test")
    assert recorded.name == "toy-laplace"
    assert as_event(recorded) == event


def test_unknown_protection_is_refused(purchases):
    """Without the registration there is no such mechanism."""
    with pytest.raises(ConfigError, match="'none', 'local' or 'distributed'"):
        load_config(None, merge(purchases, {"privacy": {"dp": "output", "epsilon": 3.0}}))


def test_mechanism_is_made_once_of_its_settings(config):
    """Equal settings are answered by the same object."""
    assert mechanism_for(config().privacy) is mechanism_for(config(rounds=2).privacy)
    assert isinstance(mechanism_for(config().privacy), OutputPerturbation)
