"""What a retailer serves: its own part, which is never released, beside the shared model."""

from dataclasses import replace

import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.data.sources.registry import load
from securefl.ml.metrics.sums import total
from securefl.ml.parameters import shared_vector
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_local_only, train_to_best
from securefl.tasks.recommendation.models.factorization import Factorization
from securefl.tasks.registry import create_task

OWN = {"rounds": 2, "batch_size": 8, "factorization": {"dim": 4}}


@pytest.fixture(scope="module")
def prepared(purchases):
    changes = {"model": {"name": "profile", "rank": 2, "own": OWN}}
    config = load_config(None, merge({**purchases, "model": {}}, changes))
    task, data = create_task(config), load(config.data)
    facts = task.agree(data)
    return config, task, facts, [task.prepare(tables, facts) for tables in data.members]


def silent_model(task, facts):
    model = task.model(facts, 0).eval()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_shared_model_that_says_nothing_leaves_the_own_part(prepared, split):
    _, task, facts, members = prepared
    model, member = silent_model(task, facts), members[0]
    with torch.no_grad():
        released = task.evaluate_shared(model, member, split)[member.name].values()
        served = task.evaluate(model, member, split)[member.name].values()
        own = task.evaluate_local(member, split)[member.name].values()
    assert released["hr@10_full"] == 0  # nothing but ties
    assert own["hr@10_full"] > 0
    assert served == own


def test_a_shared_model_that_knows_the_answers_is_heard(prepared):
    _, task, facts, members = prepared
    member = members[0]
    held_out = member.cases[member.name]["validation"].ranking.positive
    model = silent_model(task, facts)
    with torch.no_grad():
        model.popularity.weight[held_out.unique()] = 1.0
        served = task.evaluate(model, member, "validation")[member.name].values()
        own = task.evaluate_local(member, "validation")[member.name].values()
    assert served["ndcg@10"] > own["ndcg@10"] + 0.1


def test_the_own_part_is_made_of_the_members_customers_alone(prepared):
    _, _, facts, members = prepared
    own = members[0].local
    assert isinstance(own.factorization, Factorization)
    assert len(own.factorization.customers.weight) == len(members[0].examples)
    assert len(own.neighbours.diagonal) == len(facts.products)
    assert set(own.weights) == {members[0].name}
    assert (own.weights[members[0].name] >= 0).all()
    again = replace(members[0]).local
    assert torch.equal(again.factorization.bias, own.factorization.bias)


def test_the_reference_of_a_party_alone_is_its_own_part(prepared):
    config, task, facts, members = prepared
    learner = LocalProblem(config, task, facts, members[0])
    start = task.model(facts, 0)
    result = train_local_only(learner, config.references.alone, 3, shared_vector(start))
    assert result.tallies == task.evaluate_local(members[0], "test")


def test_pooled_customers_keep_their_rows_and_their_retailers_weights(prepared):
    _, task, facts, members = prepared
    pooled = task.pool(members, facts)
    assert len(pooled.local.factorization.customers.weight) == sum(len(m.examples) for m in members)
    assert set(pooled.local.weights) == {member.name for member in members}
    assert total(task.evaluate_local(pooled, "test").values()).values()["hr@10"] > 0


def test_training_to_the_best_round_leaves_that_round(prepared):
    config, task, facts, members = prepared
    learner = LocalProblem(config, task, facts, members[1])

    def trained(rounds, patience=None):
        model = learner.fresh_model("own")
        best = train_to_best(learner, model, config.references.alone, rounds, patience)
        return best, learner.score(model, "validation")

    best, scores = trained(6)
    assert 1 <= best <= 6
    assert trained(best) == (best, scores)
    assert trained(6, patience=6) == (best, scores)
    with pytest.raises(ValueError, match="at least one round"):
        trained(0)
