"""Rounds of real members that prove the norms of their updates to each other."""

import sys

import numpy as np
import pytest

from securefl.audit.export import export
from securefl.audit.verify import verify_file
from securefl.config.load import load_config, merge
from securefl.errors import ConfigError, MissingExtraError
from securefl.federation.aggregation.secure import RoundFailedError, UnverifiedRoundError
from securefl.federation.aggregation.session_parameters import session_params, within_norm
from securefl.federation.runs.compare import compare
from securefl.federation.transport.exchange import Exchange
from securefl_protocols.proofs import ristretto
from securefl_protocols.session.replay import replay
from securefl_protocols.session.server_round import ServerRound
from support.long_updates import claim, forced, have_lie, let_run
from support.masked_federation import DIMENSION, MaskedFederation
from support.rehearsal import rehearsed_change
from support.small_runs import SMALL_DEMAND

pytest.importorskip("rbcl")

NORM = 0.25
HOSTILE = 2


@pytest.fixture
def federation(tmp_path):
    return MaskedFederation(tmp_path, norm=NORM, bits="auto", max_samples=4)


def expected(names, number=1):
    """The mean of the members' changes, each scaled down."""
    changes = (within_norm(rehearsed_change(name, number, DIMENSION), NORM) for name in names)
    return np.mean([change.astype(float) for change in changes], axis=0)


def run(federation, number=1):
    """A round; the sum, and who failed with what reason."""
    exchange = Exchange(federation.wire)
    shared, names = federation.models[number], federation.names
    return federation.aggregator.masked_sum(exchange, number, shared, names), exchange.failures


@pytest.mark.slow
def test_rounds_with_norms(federation):
    """Changes are scaled down, two rounds are summed in one session, and they replay."""
    for number in (1, 2):
        result = federation.round(number)
        assert result.survivors == federation.names
        mean = federation.aggregator.decoded(result).change
        assert mean == pytest.approx(expected(federation.names, number), abs=1e-4)
        replayed = replay(
            result.transcript,
            plan=result.terms.plan,
            roster=federation.consortium.part(federation.names),
            context=result.terms.context,
            model=result.transcript.round[1],
        )
        assert (replayed.total == result.total).all()


@pytest.mark.slow
def test_update_ten_times_too_long_is_left_out(federation, monkeypatch):
    """Its sender is named, and the round is repeated without it."""
    name = federation.names[HOSTILE]
    let_run(federation.wire.members[name].masked)
    have_lie(monkeypatch, HOSTILE, forced)
    length = np.linalg.norm(rehearsed_change(name, 1, DIMENSION))
    assert length > 10 * NORM
    result, failures = run(federation)
    assert failures == {name: "no proof that its norm is within what was agreed"}
    others = tuple(one for one in federation.names if one != name)
    assert result.survivors == others
    mean = federation.aggregator.decoded(result).change
    assert mean == pytest.approx(expected(others), abs=1e-4)


@pytest.mark.slow
def test_member_that_proves_nothing_is_left_out(federation):
    """It fell silent when its norm was due: its input would be in the sum."""
    name = federation.names[HOSTILE]

    def silent(party, answer):
        payload = getattr(answer, "payload", b"  ")
        return None if party == name and payload[1] == 10 else answer

    federation.wire.up = silent
    result, failures = run(federation)
    assert name in failures
    assert name not in result.survivors


@pytest.mark.slow
def test_proof_of_another_vector_stops_the_run(federation, monkeypatch):
    """Every try fails and no one is named: the run stops as it does at wrong checksums."""
    let_run(federation.wire.members[federation.names[HOSTILE]].masked)
    have_lie(monkeypatch, HOSTILE, claim([0] * 256 + [1]))
    with pytest.raises((RoundFailedError, UnverifiedRoundError), match="norms were proved"):
        run(federation)


@pytest.mark.slow
def test_members_name_a_bad_proof_themselves(federation, monkeypatch):
    """A coordinator that lets it pass gets no shares: each member stops, and names it."""
    name = federation.names[HOSTILE]
    let_run(federation.wire.members[name].masked)
    have_lie(monkeypatch, HOSTILE, forced)

    def lenient(current, member, message, signature):
        current._signatures[member], current._proofs[member] = signature, message.proof

    monkeypatch.setattr(ServerRound, "take_consistency", lenient)
    with pytest.raises(RoundFailedError) as failed:
        run(federation)
    reason = f" failed: {name}: its norm proof does not hold"
    told, _, _ = str(failed.value).partition(reason)
    assert set(told.rpartition("; ")[2].split(", ")) == set(federation.names)


def test_norms_that_cannot_be_agreed():
    """In the clear there is nothing to prove; an input with noise is longer than any clip."""
    secure = {"mode": "secure", "secure": {"norm": 1.0}}
    for changes in ({"mode": "plain"}, {"privacy": {"dp": "local", "epsilon": 8.0}}):
        with pytest.raises(ConfigError, match=r"secure\.norm"):
            load_config(None, merge(merge(SMALL_DEMAND, secure), changes))


@pytest.mark.slow
def test_missing_extra_is_named(federation, monkeypatch):
    """By whoever computes the parameters of a session: member, coordinator and auditor."""
    ristretto.library.cache_clear()
    monkeypatch.setitem(sys.modules, "rbcl", None)
    with pytest.raises(MissingExtraError, match=r"secure\.norm.*securefl\[proofs\]"):
        session_params(federation.consortium, federation.names, DIMENSION)
    monkeypatch.undo()
    ristretto.library.cache_clear()


@pytest.mark.slow
def test_a_run_with_norms_is_verified(small_run, tmp_path):
    """A whole simulated run; the audit replays its sums, and with them every proof."""
    result, directory = small_run(mode="secure", secure={"norm": 0.5}, rounds=2)
    assert (result.rounds, result.left_out) == (2, ())
    bundle = tmp_path / "bundle.json"
    export(directory.path, bundle)
    checks = {check.name: (check.verdict, check.reason) for check in verify_file(bundle).checks}
    assert checks["sums-replayed"][0] == "pass", checks["sums-replayed"]
    assert checks["models-from-sums"][0] == "pass", checks["models-from-sums"]


@pytest.mark.slow
def test_comparison_with_a_run_in_the_clear_is_refused(small_config, tmp_path):
    """There are no norms in the other arm."""
    config = small_config(mode="secure", secure={"norm": 0.5})
    with pytest.raises(ConfigError, match=r"secure\.norm"):
        compare(config, tmp_path / "compared")
