"""A model goes over the wire once, and a wrong guess of who has it costs a message."""

import json
import os

from securefl.federation import messages as m
from securefl.federation.transport.model_cache import ModelHoldings, Models, named

MODEL = os.urandom(8192)
QUESTION = m.encode(m.Evaluate(round=1, shared=MODEL, split="test", kept=False))


def test_a_model_that_was_sent_is_named_from_then_on():
    _, short = named(QUESTION)
    assert len(short) < 200
    member = Models(lambda: None)
    assert member.whole(short) is None
    assert member.whole(QUESTION) == QUESTION
    assert m.decode(member.whole(short)) == m.decode(QUESTION)


def test_a_model_that_follows_from_a_sum_is_never_sent():
    _, short = named(QUESTION)
    assert m.decode(Models(lambda: MODEL).whole(short)) == m.decode(QUESTION)
    assert Models(lambda: os.urandom(8192)).whole(short) is None


def test_a_question_is_written_down_with_a_model_that_a_restart_would_lose():
    """A model that follows from the last sum is not lost: the question stays short."""
    _, short = named(QUESTION)
    member = Models(lambda: None)
    assert (
        member.lasting(short) == short
    )  # not here at all: the answer is `CacheMiss`, and stays it
    assert member.lasting(QUESTION) == QUESTION
    member.whole(QUESTION)
    assert m.decode(Models(lambda: None).whole(member.lasting(short))) == m.decode(QUESTION)
    assert Models(lambda: MODEL).lasting(short) == short


def test_what_has_no_model_is_sent_as_it_is():
    for message in (m.BaselineRequest(split="test"), m.Protocol(round=1, payload=MODEL)):
        assert named(m.encode(message)) is None
        assert Models(lambda: None).whole(m.encode(message)) == m.encode(message)


def test_a_member_that_computes_no_models_is_sent_them_after_two_tries():
    holdings = ModelHoldings()
    for number in range(2):
        assert holdings.worth_naming("a", bytes([number]))
        holdings.lacked("a")
    assert not holdings.worth_naming("a", b"new")
    holdings.has("a", b"new", computed=False)
    assert holdings.worth_naming("a", b"new")


def test_members_of_a_run_are_sent_no_model_after_the_first(stage):
    stage.set(dimension=30_000)
    stage.start_all()
    stage.finish()
    words = [json.loads(line) for line in stage.tail("coordinator").splitlines()]
    assert words == []
    assert max(stage.sent_in_a_round()) < 1.1 * 8 * 30_000
