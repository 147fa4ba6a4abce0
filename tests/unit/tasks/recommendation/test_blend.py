"""A blend is one model whose parts are models: what is shared, when parts train, who weighs."""

from functools import partial

import pytest
import torch

from securefl.config.load import load_config, merge, other_default
from securefl.errors import ConfigError
from securefl.ml.parameters import load_shared, local_parameters, shared_parameters, shared_vector
from securefl.tasks.common.facts_tree import facts_of, facts_tree
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.registry import check_model
from support.task_configs import blend_config, prepared


@pytest.fixture
def config(purchases):
    return partial(blend_config, purchases)


@pytest.fixture
def trained(config):
    """The parties of a blend after some rounds of FedAvg; a part is left out where it is said."""

    def make(rounds=1, **changes):
        task, facts, members = prepared(chosen := config(**changes))
        problems = [LocalProblem(chosen, task, facts, member) for member in members]
        models = [problem.fresh_model("model") for problem in problems]
        pairs = list(zip(problems, models, strict=True))
        trainers = [problem.trainer(model, chosen.training) for problem, model in pairs]
        shared, seen = shared_vector(task.model(facts, 0)), []
        for number in range(1, rounds + 1):
            changes = []
            for (problem, model), trainer in zip(pairs, trainers, strict=True):
                load_shared(model, shared)
                trainer.train(problem.seed("train", number), problem.units(number))
                changes.append((problem.data.samples, shared_vector(model) - shared))
            weight = sum(samples for samples, _ in changes)
            shared = shared + sum(samples / weight * change for samples, change in changes)
            seen.append([change for _, change in changes])
        for model in models:
            load_shared(model, shared)
        return task, facts, pairs, seen

    return make


def place_of(model, part):
    """Where a part stands in the shared vector: a mask."""
    found = [
        torch.full((value.numel(),), name.startswith(f"parts.{part}."))
        for name, value in shared_parameters(model).items()
    ]
    return torch.cat(found).numpy()


def test_own_parts_and_customers_never_leave(config):
    task, facts, members = prepared(config())
    model = task.model(facts, members[0].customers)
    assert set(local_parameters(model)) == {"parts.here.sales", "parts.mf.customers.weight"}
    parts = {name.split(".")[1] for name in shared_parameters(model)}
    assert parts == {"mf", "gru", "lately"}


def test_a_part_can_be_own_or_left_out(config):
    changes = {"gru": {"holder": "own"}, "here": {"holder": "none"}}
    task, facts, members = prepared(config(model={"parts": changes}))
    model = task.model(facts, members[0].customers)
    assert any(name.startswith("parts.gru.") for name in local_parameters(model))
    assert not any("gru" in name or "here" in name for name in shared_parameters(model))


def test_the_popularity_is_the_sum_over_retailers(trained):
    """Weighted by samples, the members' means add up to what all purchases of all give."""
    _, _, pairs, _ = trained(1)
    found = pairs[0][1].parts["lately"].sales.detach()
    summed, samples = torch.zeros(len(found), dtype=torch.float64), 0
    for problem, _ in pairs:
        histories = problem.data.examples.parts["lately"].histories
        summed.index_add_(0, histories.items.long(), histories.weights.double())
        samples += problem.data.samples
    mean = (summed / samples * len(found)).float()
    torch.testing.assert_close(found, mean, rtol=1e-4, atol=1e-6)
    own = [model.parts["here"].sales.detach() for _, model in pairs]
    assert not torch.equal(own[0], own[1])


def test_a_sum_is_sent_once_and_a_resting_part_not(trained):
    """Two sums of one list with other cohorts would tell a member's own."""
    _, _, pairs, seen = trained(2)
    model = pairs[0][1]
    for part, moves in (("lately", (True, False)), ("gru", (True, False)), ("mf", (True, True))):
        place = place_of(model, part)
        moved = [any(change[place].any() for change in changes) for changes in seen]
        assert moved == list(moves), part


def test_nothing_moves_where_all_parts_rest(trained):
    """Not even by the momentum of the round before."""
    *_, seen = trained(2, model={"parts": {"mf": {"rounds": 1}}})
    assert all(change.any() for change in seen[0])
    assert not any(change.any() for change in seen[1])


def test_each_part_trains_as_it_does_alone(config, purchases):
    """To the last bit: parts have no parameter in common, and each has its own examples."""
    away = {name: {"holder": "none"} for name in ("gru", "here", "together")}
    alone = load_config(None, merge(purchases, {"model": {"name": "mf", "dim": 4}}))
    found = []
    for chosen in (config(model={"parts": away}), alone):
        task, facts, members = prepared(chosen)
        problem = LocalProblem(chosen, task, facts, members[0])
        model = problem.fresh_model("model")
        problem.trainer(model, chosen.training).train(problem.seed("train", 1), problem.units(1))
        found.append(model)
    blend, single = found
    for name, value in single.named_parameters():
        assert torch.equal(dict(blend.parts["mf"].named_parameters())[name], value), name


@torch.no_grad()
def test_weights_are_the_retailers_own(trained):
    with torch.enable_grad():
        task, _, pairs, _ = trained(1)
    found = [task.blend_weights(model.eval(), problem.data) for problem, model in pairs]
    weights = [one for group in found for one in group.values()]
    assert {len(one) for one in weights} == {6}  # mf, gru (two), lately, here, together
    assert all(bool((one >= 0).all()) for one in weights)
    assert len({tuple(one.tolist()) for one in weights}) == len(pairs)


@torch.no_grad()
def test_default_weights_are_public_and_of_all_parts(trained):
    """With a weight of enough cases all retailers have the same ones; one part without has none."""
    with torch.enable_grad():
        task, _, pairs, _ = trained(1, model={"default_cases": 1e12})
    declared = task.default.values
    for problem, model in pairs:
        (found,) = task.blend_weights(model.eval(), problem.data).values()
        torch.testing.assert_close(found, declared, rtol=1e-3, atol=1e-3)
    assert len(declared) == 6
    assert task.by_itself().default is None
    assert task.default is not None


def test_a_part_without_weights_takes_them_from_all(config):
    matrix = {"matrix": {"model": {"name": "ease", "items": 20}}}
    assert prepared(config(model={"parts": matrix}))[0].default is None


@torch.no_grad()
def test_an_item_to_item_matrix_can_be_shared(trained):
    """Then pairs of products are counted over all retailers, and all see the counts."""
    matrix = {"matrix": {"model": {"name": "ease", "items": 20}}}
    with torch.enable_grad():
        task, facts, pairs, _ = trained(1, model={"parts": matrix})
    found = pairs[0][1].parts["matrix"].matrix
    assert found.shape == (20, 20)
    assert torch.equal(found, found.T)
    assert float(found.diagonal().min()) > 0
    values = task.evaluate(pairs[0][1].eval(), pairs[0][0].data, "test")
    assert facts.parts[list(task.trained).index("matrix")] is not None
    assert set(values) == {pairs[0][0].data.name}


def test_every_model_of_the_family_can_be_a_part(trained):
    """All at once, with facts of their own that travel as the blend's."""
    features = {"rank": 2}
    parts = {
        "ncf": {"model": {"name": "ncf", "dim": 4, "hidden": 4}},
        "levels": {"model": {"name": "hierarchical", "dim": 4, "rank": 1}},
        "profile": {"model": {"name": "profile", "rank": 2}},
        "matrix": {"model": {"name": "ease", "level": "category"}},
        "features": {"task": "hybrid", "model": {"name": "hybrid", **features}},
        "content": {"task": "content", "holder": "own", "model": {"name": "content", **features}},
    }
    task, facts, pairs, _ = trained(1, model={"parts": parts})
    (problem, model), *_ = pairs
    assert all(torch.isfinite(value).all() for value in model.parameters())
    with torch.no_grad():
        (weights,) = task.blend_weights(model.eval(), problem.data).values()
    assert len(weights) == 6 + 1 + 1 + 2 + 2 + 2 + 2
    again = facts_of(facts_tree(facts), "recommendation")
    assert again.products.tolist() == facts.products.tolist()
    assert [type(one) for one in again.parts] == [type(one) for one in facts.parts]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"task": "demand", "model": {"name": "forecaster"}}, "'demand' is none of"),
        ({"model": {"name": "rating-ncf"}}, "'rating-ncf' of task 'recommendation' is no part"),
        ({"model": {"name": "blend"}}, "'blend' of task 'recommendation' is no part"),
        ({"model": {"name": "neighbours"}}, "'neighbours' is never shared"),
        ({"model": {"name": "mf", "dimm": 3}}, "unknown key 'model.parts.more.model.dimm'"),
        ({"model": 3}, "a section that names a model"),
    ],
)
def test_what_is_no_part_is_refused_by_name(part, words):
    with pytest.raises(ConfigError, match=words):
        load_config(None, {"model": {"parts": {"more": part}}})


def test_a_sum_goes_through_no_server_optimizer(config):
    """Steps of its own would make another list of it."""
    with pytest.raises(ConfigError, match="'fedadam' would change what part 'lately' sums"):
        prepared(config(server={"optimizer": "fedadam"}))


def test_own_sums_are_set_whenever_a_member_trains(config):
    """Also of one that was in no sum of the first round."""
    task, facts, members = prepared(chosen := config())
    problem = LocalProblem(chosen, task, facts, members[0])
    model = problem.fresh_model("model")
    problem.trainer(model, chosen.training).train(problem.seed("train", 2), problem.units(2))
    assert bool(model.parts["here"].sales.detach().any())
    assert not bool(model.parts["lately"].sales.detach().any())


def test_a_blend_of_own_parts_alone_is_no_federation():
    own = {name: {"holder": "own"} for name in ("mf", "gru", "lately")}
    with pytest.raises(ConfigError, match="needs a shared part"):
        load_config(None, {"model": {"parts": own}})


@pytest.mark.parametrize("dp", ["local", "distributed"])
def test_under_a_budget_a_blend_is_no_default(dp):
    """It has no priced release yet; what was the default before is still it."""
    privacy = {"dp": dp, "epsilon": 4.0}
    private = load_config(None, {"privacy": privacy})
    assert private.model.name == "profile"
    assert other_default(private).startswith("model profile: blend, the default without a budget")
    assert other_default(load_config()) is None
    assert other_default(load_config(None, {"task": "churn", "privacy": privacy})) is None
    with pytest.raises(ConfigError, match="'blend' cannot be trained privately"):
        check_model(load_config(None, {"model": {"name": "blend"}, "privacy": privacy}))
