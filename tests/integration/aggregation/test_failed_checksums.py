"""A wrong checksum costs a round, which is repeated; no party gains a second sum by it."""

import msgpack
import numpy as np
import pytest

from securefl.consortium.ledger.transcripts import TranscriptArchive
from securefl.errors import InputError
from securefl.federation import messages as m
from securefl.federation.aggregation import session_parameters
from securefl.federation.aggregation.secure import (
    RoundFailedError,
    SecureAggregator,
    UnverifiedRoundError,
)
from securefl.federation.aggregation.session_driver import RejectedSumError
from securefl.federation.member.model_verifier import ModelVerifier
from securefl.ml.vectors import model_digest
from securefl_protocols.session.replay import replay
from securefl_protocols.wire.messages import Consistency, MaskedInput, RoundSum, Unmask
from securefl_protocols.wire.transcript import Transcript
from support.masked_federation import MaskedFederation, make_liar, rejects
from support.rehearsal import rehearsed_change, trained

LIAR = "retailer-1"


@pytest.fixture
def federation(tmp_path):
    made = MaskedFederation(tmp_path)
    yield made
    for member in made.wire.members.values():
        member.close()


def lying(federation, *tries):
    make_liar(federation.wire.members[LIAR].masked, tries)
    return federation


def expected(federation, number=1):
    changes = [rehearsed_change(name, number, 20) for name in federation.names]
    return np.mean(changes, axis=0)


def mean_of(federation, result):
    return federation.aggregator.decoded(result).change


def test_wrong_checksum_costs_a_round_and_not_the_run(federation):
    """Badtag: one wrong checksum of one member, and all later rounds were refused by all."""
    result = lying(federation, 1).round()
    assert result.survivors == federation.names
    assert np.allclose(mean_of(federation, result), expected(federation), atol=1e-6)
    assert federation.round(2).survivors == federation.names
    assert all(
        member.masked.verifier.verified_end(2) for member in federation.wire.members.values()
    )


def test_wrong_checksums_without_end_stop_the_run(federation):
    lying(federation, *range(1, 100))
    with pytest.raises(UnverifiedRoundError, match=r"failed its checksum 4 times, and 3 repeats"):
        federation.round()
    answer = federation.ask(federation.names[0], federation.request(1, 77))
    assert "repeated 3 times as agreed" in answer.text


def test_agreed_number_of_repeats_can_be_none(tmp_path):
    with pytest.raises(UnverifiedRoundError, match="1 times, and 0 repeats"):
        lying(MaskedFederation(tmp_path, repeats=0), 1).round()


def test_a_false_alarm_of_one_member_changes_nothing(federation):
    """It says that the sum fails, and the others know that it does not."""
    alarm = m.Failure(error=RejectedSumError.wire_name, text="")
    federation.wire.up = lambda name, said: (
        alarm if name == LIAR and isinstance(said, m.SumVerified) else said
    )
    assert federation.round().survivors == federation.names
    assert federation.aggregator._sessions == 1


def test_members_that_had_verified_a_sum_repeat_it_too(federation):
    """Most say that the sum fails: those that saw it fit enter again, for the same survivors."""
    alarm, told = m.Failure(error=RejectedSumError.wire_name, text=""), []

    def up(name, said):
        if isinstance(said, m.SumVerified) and len(told) < 4:
            told.append(name)
            return alarm
        return said

    federation.wire.up = up
    assert federation.round().survivors == federation.names
    assert federation.round(2).survivors == federation.names


def drops(name, code):
    """A wire that loses one kind of message of one member."""
    return lambda sender, said: (
        None
        if sender == name and isinstance(said, m.Protocol) and said.payload[1] == code
        else said
    )


def rejected_by(federation, run):
    """Run, and return who rejected a sum."""
    seen = []
    before = federation.wire.up

    def up(name, said):
        if rejects(said):
            seen.append(name)
        return before(name, said)

    federation.wire.up = up
    run()
    federation.wire.up = before
    return seen


def test_repeat_over_other_survivors_is_refused(federation):
    """A lying coordinator asks for the repeat and leaves one member out of it."""
    lying(federation, 1)
    federation.aggregator._count_rejected = _give_up
    with pytest.raises(RoundFailedError):
        federation.round()
    federation.wire.up = drops("retailer-3", MaskedInput.CODE)
    again = SecureAggregator(federation.consortium)
    again._sessions = 10
    with pytest.raises(RoundFailedError):
        federation.round(aggregator=again)


def _give_up(error, cohort):
    del cohort
    raise RoundFailedError(str(error))


def restarted(federation):
    """All members lose their memory, and keep their ledgers."""
    for name, member in federation.wire.members.items():
        member.close()
        federation.wire.members[name] = federation.member(name)


@pytest.mark.parametrize("missing", [None, "retailer-3"])
def test_repeat_after_a_restart_is_of_the_same_survivors(federation, missing):
    """A resumed run: what a member helped to unmask stands in its ledger."""
    lying(federation, 1)
    federation.aggregator._count_rejected = _give_up
    with pytest.raises(RoundFailedError):
        federation.round()
    restarted(federation)
    federation.wire.up = drops(missing, MaskedInput.CODE)
    again = SecureAggregator(federation.consortium)
    if missing is None:
        result = federation.round(aggregator=again)
        assert np.allclose(mean_of(federation, result), expected(federation), atol=1e-6)
        return
    with pytest.raises(RoundFailedError):
        federation.round(aggregator=again)


def test_repeat_after_a_restart_control_has_a_second_sum(federation, monkeypatch):
    """Where no ledger is asked, a second sum leaves one member out: its update lies open."""
    lying(federation, 1)
    federation.aggregator._count_rejected = _give_up
    with pytest.raises(RoundFailedError):
        federation.round()
    restarted(federation)
    for member in federation.wire.members.values():
        member.ledger.insert("DELETE FROM entered")
    federation.wire.up = drops("retailer-3", MaskedInput.CODE)
    result = federation.round(aggregator=SecureAggregator(federation.consortium))
    assert "retailer-3" not in result.survivors


def test_a_sum_that_was_lost_is_repeated_for_its_survivors(federation):
    """Two of five shares are lost: too few for the sum, and the others have revealed theirs."""
    lost = []

    def up(name, said):
        unmasks = isinstance(said, m.Protocol) and said.payload[1] == Unmask.CODE
        if unmasks and name in federation.names[3:] and len(lost) < 2:
            lost.append(name)
            return None
        return said

    federation.wire.up = up
    result = federation.round()
    assert len(lost) == 2
    assert result.survivors == federation.names


def test_a_member_outside_the_survivors_is_not_asked_to_repeat(federation):
    """It would be one member more in the repeat, and so in the difference of both sums."""
    lying(federation, 1)
    first = drops("retailer-4", MaskedInput.CODE)
    federation.wire.up = first
    result = federation.round()
    assert result.survivors == federation.names[:4]
    federation.wire.up = lambda name, said: said
    assert federation.round(2).survivors == federation.names


def test_a_sum_that_was_shown_to_one_member_alone_is_its_own_affair(federation):
    """The coordinator shows one member another sum: it is left, and the others go on."""
    victim = federation.names[0]

    def down(name, told):
        if name == victim and isinstance(told, m.Protocol) and told.payload[1] == RoundSum.CODE:
            return told.model_copy(update={"payload": told.payload[:-4] + b"\1\2\3\4"})
        return told

    federation.wire.down = down
    federation.round()
    federation.wire.down = lambda name, told: told
    assert "was not shown" in federation.ask(victim, federation.request(2, 9)).text
    # It goes on with what the others signed of the sum that it rejects.
    assert federation.round(2).survivors == federation.names


def test_moments_follow_the_repeat_and_not_the_first_sum(tmp_path):
    """With a server optimizer that has moments, a repeated sum counts once."""
    made = MaskedFederation(tmp_path, server={"optimizer": "fedadam"})
    start, change = np.zeros(3, np.float32), np.ones(3)
    once, twice = (ModelVerifier(made.consortium, lambda: b"") for _ in range(2))
    once.follow(made.names, trained(1, start), change)
    twice.follow(made.names, trained(1, start), 2 * change)
    twice.follow(made.names, trained(1, start), change)
    assert twice.following() == once.following()
    assert twice.derived(1) == once.derived(1)
    assert twice.verified_end(1) == once.verified_end(1)


def test_a_weight_that_is_none_costs_a_round_and_not_the_run(federation, monkeypatch):
    """Within the range of an input, and outside of what a sum of weights can be."""
    honest, calls = session_parameters.encode_update, []

    def encode(*terms):
        vector = honest(*terms)
        calls.append(terms)
        if len(calls) == federation.names.index(LIAR) + 1:
            vector[-1] = np.int64(-100).astype(vector.dtype)
        return vector

    monkeypatch.setattr(session_parameters, "encode_update", encode)
    result = federation.round()
    assert result.survivors == federation.names
    assert np.allclose(mean_of(federation, result), expected(federation), atol=1e-6)
    assert federation.aggregator._sessions == 2


def test_a_later_round_that_fails_early_binds_nobody(federation):
    """Shares left in round 1 of the session; in round 2 none did when it failed."""
    federation.round()
    lost = set(federation.names[2:])

    def up(name, said):
        signs = isinstance(said, m.Protocol) and said.payload[1] == Consistency.CODE
        return None if signs and name in lost else said

    federation.wire.up = up
    federation.aggregator._again, again = _noted(federation.aggregator._again, lost)
    assert federation.round(2).survivors == federation.names
    assert again == [()]


def _noted(inner, lost):
    """After the first failure nothing is lost any more; what it bound is noted."""
    bound = []

    def again(session):
        bound.append(session.bound)
        lost.clear()
        inner(session)

    return again, bound


def test_coordinator_state_of_an_earlier_version_is_refused(federation):
    federation.round()
    fields = msgpack.unpackb(federation.aggregator.state(), strict_map_key=False)
    fields["session"]["advertised"] = fields["session"].pop("opened")[0]
    with pytest.raises(InputError, match="of an earlier version"):
        SecureAggregator(federation.consortium).restore(msgpack.packb(fields))


def test_transcript_of_a_rejected_sum_is_kept_and_replays(federation, tmp_path):
    """Who asks later whether the coordinator lied finds what was signed, and the same total."""
    archive = TranscriptArchive(tmp_path / "transcripts", 1)
    federation.aggregator._rejected = archive.keep_rejected
    lying(federation, 1, 2)
    result = federation.round()
    (kept,) = (tmp_path / "transcripts").iterdir()
    assert kept.name == "rejected-000001.msgpack"
    again = replay(
        Transcript.from_bytes(kept.read_bytes()),
        plan=result.terms.plan,
        roster=federation.consortium.part(federation.names),
        context=result.terms.context,
        model=model_digest(federation.models[1]),
    )
    assert np.array_equal(again.total, result.total)
    assert again.checksum != federation.aggregator._session.server.result().checksum
