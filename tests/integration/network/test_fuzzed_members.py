"""Whatever arrives at a member's process is answered in the protocol's words, and kills nothing."""

import random
from dataclasses import replace
from typing import get_args

import msgpack
import pytest

from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.member.replying import INTERNAL_ERROR
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare
from securefl.federation.runs.simulation import local_consortium, member_specs
from support.hostile import every_question, world_of
from support.masked_federation import MaskedFederation
from support.member_in_process import rehearsing, training
from support.mutations import BOMBS, mutated

KINDS = {kind.model_fields["kind"].default for kind in get_args(m.AnyMessage)}


def classes_of(error):
    return {error.wire_name}.union(*map(classes_of, error.__subclasses__()))


@pytest.fixture(scope="module")
def small(tmp_path_factory, purchases):
    """The specs of the members of a small run, and what a coordinator knows of it."""
    del purchases
    from securefl.config.load import load_config
    from support.small_runs import SMALL_DEMAND

    config = load_config(None, SMALL_DEMAND | {"mode": "secure"})
    prepared, folder = prepare(config), tmp_path_factory.mktemp("run")
    consortium, keys = local_consortium(prepared)
    specs = member_specs(prepared, RunDirectory(folder, config), consortium, keys)
    world = world_of(3, prepared.shared, consortium.roster.names)
    return specs, world, prepared.shared


@pytest.fixture
def member(small, tmp_path):
    """A member with a ledger and a folder of its own: what it was asked before would decide."""
    spec = small[0][0]
    custody = replace(spec.custody, books=tmp_path / "books")
    own = replace(spec, custody=custody, directory=tmp_path / "member")
    made = training(own, tmp_path / "state")
    made.say(m.StartRun(since=0))
    yield made
    made.close()


def in_own_words(answer):
    """An answer is a message, and a failure is of a class that this project foresees."""
    reply = m.decode(answer)
    if isinstance(reply, m.Failure):
        assert reply.error in classes_of(SecureflError)
        assert reply.error != INTERNAL_ERROR
    return reply


def test_malformed_requests_are_answered_and_forgotten(member):
    """Poison: one was journalled and acknowledged, and killed the member at every start."""
    for body in BOMBS:
        (answer,) = member.handle(body)
        assert in_own_words(answer).error == "MessageError", body
    assert not {question.body for question in member.journal.questions()} & set(BOMBS)
    member.restart()
    assert isinstance(member.say(m.StartRun(since=0)), m.Entries)


def questions(world, kinds=KINDS):
    """A message of each kind of the registry, or more, as bytes."""
    found = {}
    for message in every_question(world):
        found.setdefault(message.kind, []).append(m.encode(message))
    assert set(found) == kinds
    return [choices for kind, choices in sorted(found.items()) if kind != "leave"]


def fuzz(member, corpus, dimension, seed, count):
    """Send so many mutated messages, and start the process anew in between."""
    draw = random.Random(seed)
    for place in range(count):
        message = draw.choice(draw.choice(corpus))
        if draw.random() < 0.9:
            message = mutated(draw, message, dimension)
        (answer,) = member.handle(message)
        reply = in_own_words(answer)
        if place % (count // 3) == 0:
            before = member.process._last
            member.restart()
            again = member.process._last
            if not isinstance(reply, m.Failure):
                assert again == before
            assert again.answers == before.answers


def test_mutated_requests_of_every_kind(member, small):
    fuzz(member, questions(small[1]), len(small[2]), 1, 150)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_mutated_requests_of_every_kind_many(member, small, seed):
    fuzz(member, questions(small[1]), len(small[2]), seed, 3000)


def attacked_round(federation, party, seed, number):
    """A round in which one member is told mutated messages before each real one."""
    draw = random.Random(seed)

    def down(name, told):
        if name != party.name:
            return told
        for _ in range(draw.choice([0, 0, 1, 3])):
            body = m.encode(told)
            if isinstance(told, m.Protocol) and draw.random() < 0.5:
                payload = bytearray(told.payload)
                payload[draw.randrange(len(payload))] ^= 1 << draw.randrange(8)
                body = m.encode(told.model_copy(update={"payload": bytes(payload)}))
            else:
                body = mutated(draw, body, 20)
            (answer,) = party.handle(body)
            in_own_words(answer)
            if draw.random() < 0.3:
                party.restart()
        return told

    federation.wire.down = down
    return federation.round(number)


def fuzzed_rounds(tmp_path, seeds):
    for seed in seeds:
        federation = MaskedFederation(tmp_path / str(seed) / "books")
        party = rehearsing(federation, tmp_path / str(seed) / "state", "retailer-2")
        federation.wire.members["retailer-2"].close()
        federation.wire.members["retailer-2"] = party
        for number in (1, 2):
            survivors = attacked_round(federation, party, seed, number).survivors
            assert set(survivors) >= set(federation.names) - {"retailer-2"}


def test_mutated_messages_in_a_round_cost_their_target_alone(tmp_path):
    fuzzed_rounds(tmp_path, range(4))


@pytest.mark.slow
def test_mutated_messages_in_many_rounds(tmp_path):
    fuzzed_rounds(tmp_path, range(10, 80))


def test_first_bytes_that_announce_too_much_are_no_kind():
    """Sixteen gigabytes of places for an array were asked for."""
    from securefl.federation.transport.timeouts import kind_of

    for body in BOMBS:
        assert kind_of(body) in KINDS | {""} or not body.startswith(b"\x81\xdd")
    assert kind_of(b"\x81\xdd\x7f\xff\xff\xff") == ""
    assert kind_of(msgpack.packb({"kind": "save", "round": 1})) == "save"


def test_save_with_any_number_deletes_no_checkpoint(member):
    """Save of rounds to come: two of them, and no checkpoint of a real round was left."""
    assert isinstance(member.say(m.Save(round=1)), m.Done)
    saved = sorted(member.member.directory.glob("round-*"))
    for number in (2, 3, 0, 2**63, 2**64 - 1):
        assert isinstance(member.say(m.Save(round=number)), m.Failure)
    assert sorted(member.member.directory.glob("round-*")) == saved
    member.restart()


def test_refused_save_drops_nothing_from_the_journal(member):
    """The journal is what a restart goes on from; a snapshot in its place needs a real save."""
    before = [question.id for question in member.journal.questions()]
    assert isinstance(member.say(m.Save(round=3)), m.Failure)
    assert [question.id for question in member.journal.questions()][:-1] == before


def test_two_kinds_in_one_message_take_no_snapshot(member, small):
    """First `save`, then `keep`: it was kept as saved, and the round under way was forgotten."""
    shared, names = m.pack_vector(small[2]), small[0][0].consortium.roster.names
    entered = m.TrainMasked(round=1, shared=shared, cohort=names, session=1)
    assert isinstance(member.say(entered), m.Protocol)
    before = [question.id for question in member.journal.questions()]
    for first in (b"\xa4save", b"\xa5leave"):
        body = b"\x83\xa4kind" + first + b"\xa5round\x01\xa4kind\xa4keep"
        (answer,) = member.handle(body)
        assert in_own_words(answer).error == "MessageError"
    assert [question.id for question in member.journal.questions()] == before
    assert not member.process._released


def test_error_that_no_check_foresaw_is_answered_without_its_text(member, caplog):
    """Out of the member itself, in a simulation as over a network."""

    def surprised(request):
        raise ValueError(str(request.since + 4711))

    member.member._answers[m.StartRun] = surprised
    (answer,) = member.member.handle(m.encode(m.StartRun(since=1000)))
    reply = m.decode(answer)
    assert reply.error == INTERNAL_ERROR
    assert "ValueError at" in reply.text
    assert "5711" not in reply.text + caplog.text
    assert "surprised" in caplog.text
