"""Attacks that read customers off exact scores of models of the coordinator's own making."""

from itertools import product

import msgpack
import numpy as np
import pytest
import torch

from securefl.federation import messages as m
from securefl.ml.parameters import shared_parameters, shared_vector

RATING_BUDGET = {"epsilon": 4.0}
PURCHASE_BUDGET = {
    "dp": "local",
    "epsilon": 1.0,
    "delta": 1e-3,
    "sampling_rate": 1.0,
    "expected_batch": 20.0,
    "steps": 1,
}
RATINGS = range(1, 5)


def asks_about(asked, customer, product_number, rating):
    """A model that says `rating` of one customer and product, and the lowest of all others.

    Its exact number of right predictions differs by one with and without it if the rating is right.
    """
    model = asked.member.learner.fresh_model("attacker")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        part = dict(model.named_parameters())
        part["classify.6.bias"][0] = 0.1
        if rating is not None:
            part["customers.weight"][customer, 0] = 1
            part["products.weight"][product_number, 0] = 1
            part["classify.0.weight"][0, 0] = 1
            part["classify.0.weight"][0, 8] = 1
            part["classify.0.bias"][0] = -1.5
            part["classify.3.weight"][0, 0] = 1
            part["classify.6.weight"][rating, 0] = 10
    return shared_vector(model)


def one_rating(asked):
    """A training rating that its customer gave once: customer, product, rating."""
    rows = asked.member.learner.data.splits[asked.spec.name]["train"]
    customers, products, ratings = (part.tolist() for part in rows)
    pairs = list(zip(customers, products, strict=True))
    row = next(i for i, pair in enumerate(pairs) if pairs.count(pair) == 1 and ratings[i] == 3)
    return customers[row], products[row], int(ratings[row])


def right_predictions(asked, vector):
    """What an exact score would say of a model on the training ratings."""
    tallies = asked.member.scoring.score(vector, "train", "kept")
    return tallies[asked.spec.name].ratios["train_accuracy"].numerator


def test_control_crafted_models_read_a_rating(asked):
    """Where scores of any model are given, differences of exact counts give the rating."""
    victim = asked(mode="plain")
    customer, number, rating = one_rating(victim)
    base = right_predictions(victim, asks_about(victim, customer, number, None))
    counts = {
        guess: right_predictions(victim, asks_about(victim, customer, number, guess)) - base
        for guess in RATINGS
    }
    assert [guess for guess, change in counts.items() if change == 1] == [rating]


@pytest.mark.parametrize("dp", ["local", "distributed"])
def test_crafted_models_read_no_rating(asked, dp):
    """The same questions, before and after the start, are refused and cost nothing."""
    victim = asked(mode="secure", privacy=RATING_BUDGET | {"dp": dp})
    customer, number, _ = one_rating(victim)
    for start in (None, m.StartRun(since=0)):
        if start is not None:
            assert isinstance(victim.say(start), m.Entries)
        for place, guess in enumerate([None, *RATINGS]):
            model = m.pack_vector(asks_about(victim, customer, number, guess))
            for kept in (True, False):
                request = m.Evaluate(round=place % 4, shared=model, split="train", kept=kept)
                assert victim.say(request).error == "RefusedQuestionError"
    assert not victim.scores()
    assert victim.spent == 0


BUDGETS = {
    "masked": {"mode": "secure"},
    "plain-local": {"mode": "plain", "privacy": RATING_BUDGET | {"dp": "local"}},
    "masked-local": {"mode": "secure", "privacy": RATING_BUDGET | {"dp": "local"}},
    "distributed": {"mode": "secure", "privacy": RATING_BUDGET | {"dp": "distributed"}},
}


@pytest.mark.parametrize("protection", BUDGETS)
def test_every_split_and_round_gives_no_score(asked, protection):
    """Any split, any round, any local part, any baseline: outside the sum nothing is told."""
    victim = asked(**BUDGETS[protection])
    victim.say(m.StartRun(since=0))
    model = m.pack_vector(np.full_like(victim.prepared.shared, 0.1))
    splits = ("train", "validation", "test")
    rounds = (*range(victim.prepared.config.rounds + 2), 1 << 63, (1 << 64) - 1)
    for split, kept, number in product(splits, (True, False), rounds):
        victim.say(m.Evaluate(round=number, shared=model, split=split, kept=kept))
    for split in splits:
        victim.say(m.BaselineRequest(split=split))
    victim.say(m.LocalOnlyRequest(shared=model))
    victim.say(m.ObserveModel(shared=model, split="test", local="kept"))
    victim.say(m.ObserveBaseline(noised=True))
    victim.say(m.ObserveLocalOnly(shared=model))
    victim.say(m.DebugDisclose(round=1))
    assert all(isinstance(reply, m.Failure) for reply in victim.replies[1:])
    assert {reply.error for reply in victim.replies[1:]} == {"RefusedQuestionError"}


def test_many_rounds_give_no_score(asked):
    """One answer a round number and split was a hundred exact answers in fifty rounds."""
    privacy = {"dp": "distributed", "epsilon": 1.0, "unit": "record"}
    victim = asked(mode="secure", rounds=50, privacy=privacy)
    model = m.pack_vector(victim.prepared.shared)
    for number in range(51):
        for split in ("train", "test"):
            victim.say(m.Evaluate(round=number, shared=model, split=split, kept=True))
    assert len(victim.replies) == 102
    assert not victim.scores()


def favourite(asked, name, number):
    """A model with one product far above all others, everything else zero."""
    parts = []
    for parameter_name, parameter in shared_parameters(asked.member.model).items():
        part = np.zeros(parameter.numel(), dtype=np.float32)
        if parameter_name == name:
            part[number] = 1e6
        parts.append(part)
    return np.concatenate(parts)


def test_crafted_models_count_no_purchase(asked):
    """Forty models, each with another product on top, said how many customers bought it next."""
    victim = asked("purchases", mode="secure", rounds=40, privacy=PURCHASE_BUDGET)
    for number in range(40):
        model = m.pack_vector(favourite(victim, "bias", number))
        victim.say(m.Evaluate(round=number, shared=model, split="test", kept=True))
    assert len(victim.replies) == 40
    assert {reply.error for reply in victim.replies} == {"RefusedQuestionError"}
    assert victim.spent == 0


def test_released_model_is_scored_for_nobody(asked):
    """The question for the shared model alone is no message any more; the observer's is refused."""
    victim = asked("purchases", mode="secure", privacy=PURCHASE_BUDGET)
    crafted = m.pack_vector(favourite(victim, "bias", 3))
    (reply,) = victim.member.handle(msgpack.packb({"kind": "evaluate-released", "shared": crafted}))
    assert m.decode(reply).error == "MessageError"
    answer = victim.say(m.ObserveModel(shared=crafted, split="test", local="none"))
    assert answer.error == "RefusedQuestionError"
    assert victim.spent == 0
