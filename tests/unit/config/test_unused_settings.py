"""A setting that nothing would read is refused by name, and everything else is read."""

import pytest
import torch

from securefl.config.base import Settings
from securefl.config.load import dump_toml, load_config, read_dumped
from securefl.config.task_registry import declaration
from securefl.errors import ConfigError
from securefl.tasks.common.learner import LocalProblem
from support.task_configs import blend_config, prepared

PARTS = {
    ("recommendation", "profile"): {"learns": "products", "dim": 8, "own": {"rounds": 3}},
    ("recommendation", "ease"): {"own_ridge": 3.0},
    ("sequential", "gru"): {"own": {"dim": 8}},
    ("sequential", "attention"): {"own": {"dim": 8}},
    ("hybrid", "hybrid"): {"own": {"rank": 3}},
    ("content", "content"): {"own": {"rank": 3}},
}
"""What nothing reads where the model is a part."""
UNREAD = [(*key, name, value) for key, one in PARTS.items() for name, value in one.items()]


@pytest.mark.parametrize(("task", "model", "setting", "value"), UNREAD)
def test_a_setting_that_no_part_reads_is_refused(task, model, setting, value):
    part = {"task": task, "model": {"name": model, setting: value}}
    with pytest.raises(ConfigError, match=rf"parts.more: model\.{setting}: no part of a blend"):
        load_config(None, {"model": {"parts": {"more": part}}})


def test_the_table_names_every_such_setting():
    for (task, model), unread in PARTS.items():
        assert set(declaration(task).choice(model).unused_in_part) == set(unread)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"model": {"parts": {"lately": {"rounds": 2}}}}, "rounds: model 'popularity' is computed"),
        ({"model": {"parts": {"together": {"rounds": 2}}}}, "rounds: model 'neighbours' is comp"),
        (
            {"model": {"default_cases": 9.0, "parts": {"more": {"model": {"name": "ncf"}}}}},
            "default_cases: part 'more' declares no weights",
        ),
        ({"model": {"name": "mf", "negatives": 9}}, "negatives: loss 'softmax' takes all products"),
        ({"model": {"name": "hierarchical", "negatives": 9}}, "negatives: loss 'softmax' takes"),
        (
            {"task": "sequential", "model": {"name": "gru", "loss": "softmax", "negatives": 9}},
            "negatives: loss 'softmax' takes all products",
        ),
        (
            {"model": {"name": "ease", "level": "kind", "items": 9}},
            "items: with level 'kind' all of them are counted",
        ),
        ({"model": {"name": "profile", "learns": "categories", "dim": 9}}, "dim: a map between"),
        ({"model": {"name": "profile", "dim": 9}}, "model.dim: model 'profile' reads it under a b"),
        ({"model": {"name": "profile", "learns": "products"}}, "model.learns: model 'profile' rea"),
        ({"task": "sequential", "model": {"own": {"dim": 8}}}, "model.own: model 'gru' reads it u"),
    ],
)
def test_a_setting_that_another_one_makes_void_is_refused(tree, words):
    with pytest.raises(ConfigError, match=words) as said:
        load_config(None, tree)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "tree",
    [
        {"model": {"name": "mf", "negatives": 9, "loss": "bpr"}},
        {"task": "sequential", "model": {"own": {"dim": 8}}, "privacy": {"dp": "local"}},
        {"model": {"dim": 9}, "privacy": {"dp": "local"}},
        {"model": {"parts": {"more": {"model": {"name": "profile", "learns": "auto"}}}}},
    ],
)
def test_a_dumped_configuration_holds_its_defaults_and_loads(tmp_path, tree):
    """Every default is in the file, those of what nothing reads too."""
    tree = {**tree, "privacy": {"epsilon": 4.0, **tree["privacy"]}} if "privacy" in tree else tree
    config = load_config(None, tree)
    (tmp_path / "config.toml").write_text(dump_toml(config), encoding="utf-8")
    assert read_dumped(tmp_path / "config.toml") == config


@pytest.mark.slow
def test_every_other_setting_of_a_part_is_read(purchases, monkeypatch):
    """From data to scores, for one blend of all models that can be parts."""
    small = {"ncf": {"hidden": 4}, "hierarchical": {"rank": 1}}
    names = [("recommendation", n) for n in ("mf", "hierarchical", "ncf")] + list(PARTS)
    parts = {
        name: {"task": task, "model": {"name": name, **small.get(name, {})}} for task, name in names
    }
    loss = {"loss": "sampled-softmax"}
    for name in ("mf", "hierarchical"):
        parts[name]["model"] |= loss
    config = blend_config(purchases, model={"parts": parts})
    read, get = set(), Settings.__getattribute__

    def seen(self, name):
        read.add((type(self), name))
        return get(self, name)

    monkeypatch.setattr(Settings, "__getattribute__", seen, raising=False)
    task, facts, members = prepared(config)
    problem = LocalProblem(config, task, facts, members[0])
    model = problem.fresh_model("model")
    problem.trainer(model, config.training).train(problem.seed("train", 1), problem.units(1))
    with torch.no_grad():
        task.evaluate(model.eval(), members[0], "test")
    monkeypatch.undo()
    for part in config.model.parts.values():
        kind = type(part.model)
        choice = declaration(part.task).choice(part.model.name)
        known = set(kind.model_fields) - {"name"}
        unread = {name for name in known if (kind, name) not in read}
        assert unread == set(choice.unused_in_part if choice else ()), kind


NOISED = {"privacy": {"dp": "distributed", "epsilon": 8.0}, "model": {"name": "profile"}}
LOCALLY = {"privacy": {"dp": "local", "epsilon": 8.0}}
MOMENTS = {"server": {"optimizer": "fedadam"}}
VOTES = [
    ({}, {"share": 0.2}),
    (LOCALLY, {"share": 0.2}),
    *[(LOCALLY, {name: 0.3}) for name in ("worse", "exposure", "chance", "first")],
    *[(NOISED, {name: 0.3}) for name in ("worse", "length", "apart", "turn", "first")],
    (NOISED, {"cases": True}),
    *[(MOMENTS, {name: 0.3}) for name in ("direction", "length", "apart", "turn", "first")],
    ({}, {"every": 2, "first": 0.3}),
]


@pytest.mark.parametrize(("tree", "vote"), VOTES)
def test_a_setting_that_no_ballot_reads_is_refused(tree, vote):
    name = list(vote)[-1]
    with pytest.raises(ConfigError, match=rf"vote\.{name}: .*, and nothing reads it"):
        load_config(None, tree | {"vote": vote})


@pytest.mark.parametrize(
    ("tree", "vote"),
    [
        ({}, {"first": 0.3, "worse": 0.3}),
        ({"rounds": 1}, {"every": 2, "first": 0.3}),  # the last round has a vote in any case
        (LOCALLY, {"length": 2.0}),
        (NOISED, {"share": 0.2, "direction": 0.4, "row": 12.0}),
        (MOMENTS, {"worse": 0.3, "row": 12.0}),
        (NOISED, {}),
        ({}, {"every": 2}),
    ],
)
def test_a_setting_that_ballots_read_loads(tree, vote):
    assert load_config(None, tree | {"vote": vote}).vote is not None
