"""The coordinator of these tests lies; the members are the real ones behind the real transport."""

import numpy as np
import pytest

from securefl.config.schema import Dropout
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.agreement.signatures import SignedAgreement
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.fedavg import weighted_mean
from securefl.federation.aggregation.secure import RoundFailedError, SecureAggregator
from securefl.federation.aggregation.session_parameters import encode_update, session_params
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare
from securefl.federation.runs.simulation import local_consortium, member_specs, observed
from securefl.federation.transport.base import Delivery
from securefl.federation.transport.exchange import Exchange
from securefl.federation.transport.fault_injection import WithDropouts
from securefl.federation.transport.local import InProcess
from securefl.ml.parameters import shared_vector
from securefl_protocols.primitives.errors import PlanError
from securefl_protocols.wire.messages import RoundSum, Signatures


@pytest.fixture
def parties(tmp_path, small_config):
    """Makes the members of a small consortium, and what everybody knows of it."""

    def make(discloses=False, mode="secure", **changes):
        config = small_config(mode=mode, **changes)
        prepared = prepare(config)
        consortium, keys = local_consortium(prepared)
        directory = RunDirectory(tmp_path, config)
        specs = member_specs(prepared, directory, consortium, keys)
        if discloses:
            specs = observed(specs, keys, discloses=True)
        transport = InProcess(specs)
        Exchange(transport).ask_all(names(prepared), m.StartRun(since=0), m.Entries)
        return prepared, consortium, transport

    return make


class Tampering:
    """A coordinator's wire on which one kind of message is changed on its way to one member."""

    def __init__(self, inner, victim, change):
        self.inner, self.victim, self.change = inner, victim, change

    def publish(self, party, message):
        if party == self.victim:
            message = m.encode(self.change(m.decode(message)))
        self.inner.publish(party, message)

    def receive(self, timeout=None):
        return self.inner.receive(timeout)


class Recording:
    """A coordinator that keeps every byte it is sent."""

    def __init__(self, inner):
        self.inner, self.seen = inner, []

    def publish(self, party, message):
        self.inner.publish(party, message)

    def receive(self, timeout=None) -> Delivery:
        delivery = self.inner.receive(timeout)
        self.seen.append(delivery.message)
        return delivery


def names(prepared):
    return tuple(member.name for member in prepared.members)


def test_no_update_is_on_the_wire_in_mode_secure(parties):
    prepared, consortium, transport = parties(discloses=True)
    wire = Recording(transport)
    aggregator = SecureAggregator(consortium)
    aggregator.aggregate(Exchange(wire), 1, prepared.shared, names(prepared))
    revealed = Exchange(transport).ask_all(names(prepared), m.DebugDisclose(round=1), m.Update)
    for name in names(prepared):
        change = revealed[name].change
        assert any(len(message) > len(change) for message in wire.seen)
        # Sixteen neighbouring bytes of an update would be four equal coordinates in a row.
        pieces = {change[i : i + 16] for i in range(0, len(change) - 16, 16)} - {bytes(16)}
        assert not any(piece in message for message in wire.seen for piece in pieces)


def test_the_same_pieces_are_on_the_wire_in_mode_plain(parties):
    prepared, _, transport = parties(mode="plain", discloses=True)
    wire = Recording(transport)
    request = m.Train(round=1, shared=m.pack_vector(prepared.shared))
    updates = Exchange(wire).ask_all(names(prepared), request, m.Update)
    change = updates[names(prepared)[0]].change
    assert any(change[:16] in message for message in wire.seen)


def test_a_member_in_mode_secure_answers_no_plain_training_request(parties):
    prepared, _, transport = parties()
    request = m.Train(round=1, shared=m.pack_vector(prepared.shared))
    with pytest.raises(SecureflError, match="'train' is not answered in a run that is masked"):
        Exchange(transport).ask_all(names(prepared), request, m.Update)


def test_a_member_lays_nothing_open_outside_a_comparison(parties):
    prepared, consortium, transport = parties()
    SecureAggregator(consortium).aggregate(Exchange(transport), 1, prepared.shared, names(prepared))
    with pytest.raises(SecureflError, match="does not answer 'reveal'"):
        Exchange(transport).ask_all(names(prepared), m.DebugDisclose(round=1), m.Update)


def test_a_member_that_was_sent_another_model_is_in_no_sum(parties):
    """Pasquini et al. 2022: a member that was sent another model is in nobody's sum."""
    prepared, consortium, transport = parties()

    def other_model(message):
        if not isinstance(message, m.TrainMasked):
            return message
        shared = m.unpack_vector(message.shared)
        return message.model_copy(update={"shared": m.pack_vector(shared * 0)})

    victim = names(prepared)[2]
    result = SecureAggregator(consortium).masked_sum(
        Exchange(Tampering(transport, victim, other_model)), 1, prepared.shared, names(prepared)
    )
    assert result.survivors == tuple(name for name in names(prepared) if name != victim)


def test_a_cohort_of_two_is_refused_by_plan(parties):
    prepared, consortium, transport = parties()
    with pytest.raises(PlanError, match="between 3 and"):
        session_params(consortium, names(prepared)[:2], prepared.shared.size)
    request = m.TrainMasked(
        round=1,
        shared=m.pack_vector(prepared.shared),
        cohort=names(prepared)[:2],
        session=1,
    )
    with pytest.raises(SecureflError, match="not the cohort that was agreed"):
        Exchange(transport).ask_all(names(prepared)[:1], request, m.Protocol)


def test_a_cohort_with_an_invented_member_is_refused(parties):
    """Sybil: the roster is pinned, and a name that is not in it takes part in nothing."""
    prepared, _, transport = parties()
    request = m.TrainMasked(
        round=1,
        shared=m.pack_vector(prepared.shared),
        cohort=(*names(prepared)[:2], "sybil"),
        session=1,
    )
    with pytest.raises(SecureflError, match="not the cohort that was agreed"):
        Exchange(transport).ask_all(names(prepared)[:1], request, m.Protocol)


def test_a_cohort_chosen_by_the_coordinator_is_refused(parties):
    prepared, consortium, transport = parties()
    aggregator = SecureAggregator(consortium)
    exchange = Exchange(transport)
    aggregator.aggregate(exchange, 1, prepared.shared, names(prepared))
    request = m.TrainMasked(
        round=2,
        shared=m.pack_vector(prepared.shared),
        cohort=names(prepared)[:4],
        session=1,
    )
    with pytest.raises(SecureflError, match="not the cohort that was agreed"):
        exchange.ask_all(names(prepared)[:1], request, m.Protocol)


def test_members_with_other_agreements_find_no_common_sum(parties):
    prepared, consortium, transport = parties()
    agreement = consortium.signed.agreement
    changed = agreement.config.model_copy(update={"seed": 99})
    signed = SignedAgreement(agreement=agreement.model_copy(update={"config": changed}))
    other = Consortium(signed, consortium.run_id)
    with pytest.raises(RoundFailedError):
        SecureAggregator(other).aggregate(Exchange(transport), 1, prepared.shared, names(prepared))


def test_an_update_beyond_the_agreed_range_is_refused_and_never_clipped(parties):
    prepared, consortium, transport = parties(secure={"limit": 1e-7})
    with pytest.raises(RoundFailedError):
        SecureAggregator(consortium).aggregate(
            Exchange(transport), 1, prepared.shared, names(prepared)
        )


def test_sample_counts_stay_hidden(parties):
    prepared, consortium, transport = parties()
    wire = Recording(transport)
    result = SecureAggregator(consortium).aggregate(
        Exchange(wire), 1, prepared.shared, names(prepared)
    )
    assert result.samples == sum(member.samples for member in prepared.members)
    for message in (m.decode(data) for data in wire.seen):
        assert not isinstance(message, m.Update)
        # A signature is over what all members know of the sum, and over nothing of one.
        assert set(message.model_dump()) <= {"kind", "round", "payload", "signature"}


def test_the_masked_mean_is_the_weighted_mean_of_the_updates(parties):
    prepared, consortium, transport = parties(discloses=True, secure={"bits": 64})
    exchange = Exchange(transport)
    masked = SecureAggregator(consortium).aggregate(exchange, 1, prepared.shared, names(prepared))
    updates = exchange.ask_all(names(prepared), m.DebugDisclose(round=1), m.Update)
    plain = weighted_mean(updates, prepared.shared.size)
    assert masked.samples == plain.samples
    assert masked.loss == pytest.approx(plain.loss, rel=1e-5)
    assert np.abs(masked.change - plain.change).max() < 1e-12


def sum_without(victim, consortium, transport, prepared):
    """What a coordinator sees that runs round 1 again and leaves one member out."""
    dropout = Dropout(member=victim, round=1, step="masked-input")
    again = SecureAggregator(consortium)
    again._sessions = 10
    wire = WithDropouts(transport, [dropout])
    return again.masked_sum(Exchange(wire), 1, prepared.shared, names(prepared))


def test_differencing_of_two_sums_of_one_round_is_refused(parties):
    prepared, consortium, transport = parties()
    aggregator = SecureAggregator(consortium)
    aggregator.masked_sum(Exchange(transport), 1, prepared.shared, names(prepared))
    with pytest.raises(RoundFailedError):
        sum_without(names(prepared)[2], consortium, transport, prepared)


def test_differencing_opens_an_update_where_members_enter_a_round_twice(parties):
    prepared, consortium, transport = parties(discloses=True)
    victim = names(prepared)[2]
    aggregator = SecureAggregator(consortium)
    whole = aggregator.masked_sum(Exchange(transport), 1, prepared.shared, names(prepared))
    for member in transport._parties.values():
        member.member.masked.last_unmasked = 0
        member.member.ledger.privacy_ledger.insert("DELETE FROM entered")
    rest = sum_without(victim, consortium, transport, prepared)
    update = Exchange(transport).ask_all([victim], m.DebugDisclose(round=1), m.Update)[victim]
    encoding = whole.terms.encoding
    stolen = encode_update(encoding, m.unpack_vector(update.change), update.loss, update.samples)
    assert np.array_equal(whole.total - rest.total, stolen)


def test_a_round_that_failed_before_unmasking_is_tried_again_and_succeeds(parties):
    prepared, consortium, transport = parties()

    class OnceUnheard:
        """Loses all masked inputs of the first attempt."""

        def __init__(self, inner):
            self.inner, self.lost = inner, 0

        def publish(self, party, message):
            self.inner.publish(party, message)

        def receive(self, timeout=None):
            delivery = self.inner.receive(timeout)
            message = m.decode(delivery.message)
            if isinstance(message, m.Protocol) and len(message.payload) > 4 * prepared.shared.size:
                self.lost += 1
                if self.lost <= len(names(prepared)):
                    return Delivery(delivery.sender, m.encode(m.Absent()))
            return delivery

    result = SecureAggregator(consortium).masked_sum(
        Exchange(OnceUnheard(transport)), 1, prepared.shared, names(prepared)
    )
    assert result.survivors == names(prepared)


class Bare:
    """A coordinator that says whatever it likes to one member, and sees the answer."""

    def __init__(self, member):
        self.member = member

    def say(self, message):
        (answer,) = self.member.handle(m.encode(message))
        return m.decode(answer)


def training_request(prepared, **changes):
    fields = {
        "round": 1,
        "shared": m.pack_vector(prepared.shared),
        "cohort": names(prepared),
        "session": 50,
    }
    return m.TrainMasked(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"round": 0}, "none of the 3"),
        ({"round": 4}, "none of the 3"),
        ({"round": 1 << 63}, "none of the 3"),
        ({"shared": b"\0" * 8}, "not ours"),
        ({"shared": b"abc"}, "malformed vector"),
    ],
)
def test_a_request_off_the_agreement_is_refused_before_training(parties, changes, reason):
    prepared, _, transport = parties()
    member = transport._parties[names(prepared)[0]]
    before = shared_vector(member.model)
    answer = Bare(member).say(training_request(prepared, **changes))
    assert isinstance(answer, m.Failure)
    assert reason in answer.text
    assert np.array_equal(shared_vector(member.model), before)


def test_the_number_of_another_round_does_not_hide_an_unmasking(parties):
    """Naming an old round in between must not make a member forget what it has unmasked."""
    prepared, consortium, transport = parties()
    aggregator, exchange = SecureAggregator(consortium), Exchange(transport)
    first = aggregator.aggregate(exchange, 1, prepared.shared, names(prepared))
    shared = (prepared.shared.astype(np.float64) + first.change).astype(np.float32)
    member = transport._parties[names(prepared)[0]]

    class Confusing(Tampering):
        """Names round 1 again right before the signatures of round 2."""

        def publish(self, party, message):
            decoded = m.decode(message)
            signatures = isinstance(decoded, m.Protocol) and decoded.payload[1] == Signatures.CODE
            if party == self.victim and signatures:
                old = training_request(prepared, session=1)
                assert isinstance(Bare(member).say(old), m.Failure)
                message = m.encode(decoded.model_copy(update={"round": 1}))
            self.inner.publish(party, message)

    wire = Confusing(transport, names(prepared)[0], None)
    result = aggregator.masked_sum(Exchange(wire), 2, shared, names(prepared))
    assert names(prepared)[0] in result.survivors
    assert member.masked.last_unmasked == 1
    assert member.masked._session is None
    assert isinstance(Bare(member).say(training_request(prepared)), m.Failure)


def test_a_model_that_does_not_follow_from_the_sum_is_refused(parties):
    prepared, consortium, transport = parties()
    aggregator, exchange = SecureAggregator(consortium), Exchange(transport)
    aggregator.aggregate(exchange, 1, prepared.shared, names(prepared))
    with pytest.raises(RoundFailedError):
        aggregator.aggregate(exchange, 2, prepared.shared, names(prepared))
    answer = Bare(transport._parties[names(prepared)[0]]).say(
        training_request(prepared, round=2, shared=m.pack_vector(prepared.shared + 1))
    )
    assert "another model" in answer.text or "does not follow" in answer.text


def test_a_sum_that_is_not_shown_ends_it(parties):
    prepared, consortium, transport = parties()
    member = transport._parties[names(prepared)[0]]

    class Withholding(Tampering):
        def publish(self, party, message):
            decoded = m.decode(message)
            shows = isinstance(decoded, m.Protocol) and decoded.payload[1] == RoundSum.CODE
            if party == self.victim and shows:
                message = m.encode(m.BaselineRequest(split="test"))
            self.inner.publish(party, message)

    wire = Withholding(transport, names(prepared)[0], None)
    SecureAggregator(consortium).aggregate(Exchange(wire), 1, prepared.shared, names(prepared))
    answer = Bare(member).say(training_request(prepared, round=2))
    assert "was not shown" in answer.text


def test_scores_are_no_oracle(parties):
    """Scores of any model at any time would count whom a crafted model singles out."""
    prepared, _, transport = parties(mode="plain")
    start = m.pack_vector(prepared.shared)
    everybody = names(prepared)
    Exchange(transport).ask_all(everybody, m.Train(round=1, shared=start), m.Update)
    bare = Bare(transport._parties[everybody[0]])

    def question(vector, number, kept=False):
        split = "test" if kept else "validation"
        return m.Evaluate(round=number, shared=m.pack_vector(vector), split=split, kept=kept)

    assert "not agreed" in bare.say(question(prepared.shared, 99)).text
    assert isinstance(bare.say(question(prepared.shared, 1)), m.Scores)
    assert "answered before" in bare.say(question(prepared.shared, 1)).text
    assert "not the model" in bare.say(question(prepared.shared * 2, 2)).text
    assert "not answered in the rounds" in bare.say(question(prepared.shared, 1, kept=True)).text


def test_masked_members_give_no_score(parties):
    """Of any model, also of the one that followed from the sum."""
    prepared, consortium, transport = parties()
    aggregator, exchange = SecureAggregator(consortium), Exchange(transport)
    first = aggregator.aggregate(exchange, 1, prepared.shared, names(prepared))
    shared = (prepared.shared.astype(np.float64) + first.change).astype(np.float32)
    bare = Bare(transport._parties[names(prepared)[0]])
    model = m.pack_vector(shared)
    answer = bare.say(m.Evaluate(round=1, shared=model, split="validation", kept=False))
    assert answer.error == "RefusedQuestionError"
    assert "in a run that is masked" in answer.text


def test_an_unmasked_round_is_not_taken_back(parties):
    prepared, consortium, transport = parties()
    SecureAggregator(consortium).aggregate(Exchange(transport), 1, prepared.shared, names(prepared))
    answer = Bare(transport._parties[names(prepared)[0]]).say(m.Restore(round=0))
    assert "not taken back" in answer.text
