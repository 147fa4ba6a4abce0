"""A setting that nothing would read is refused by name, and everything else is read."""

import pytest
import torch

from securefl.config.base import Settings
from securefl.config.load import dump_toml, load_config, merge, read_dumped, validate
from securefl.config.task_registry import declaration
from securefl.config.unread import UNREAD
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
IN_PARTS = [(*key, name, value) for key, one in PARTS.items() for name, value in one.items()]


@pytest.mark.parametrize(("task", "model", "setting", "value"), IN_PARTS)
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


LATE = [{"member": "west", "round": 9, "step": "keys"}]
PAIRS = {
    "patience": ({"rounds": 6, "patience": 5}, {"rounds": 6, "patience": 4}),
    "training.momentum": (
        {"training": {"momentum": 0.5}},
        {"training": {"momentum": 0.5}, "references": {"pooled": {"optimizer": "sgd"}}},
    ),
    "server.momentum": (
        {"server": {"momentum": 0.5}},
        {"server": {"momentum": 0.5, "optimizer": "fedavgm"}},
    ),
    "server.second_moment": (
        {"server": {"second_moment": 0.5, "optimizer": "fedavgm"}},
        {"server": {"second_moment": 0.5, "optimizer": "fedadam"}},
    ),
    "server.epsilon": (
        {"server": {"epsilon": 0.5}},
        {"server": {"epsilon": 0.5, "optimizer": "fedadam"}},
    ),
    "secure.tolerance": ({"secure": {"tolerance": 0.1, "bits": 32}}, {"secure": {"tolerance": 1}}),
    "secure.expected_samples": (
        {"secure": {"expected_samples": 9, "min_samples": 9}},
        {"secure": {"expected_samples": 10, "min_samples": 9}},
    ),
    "privacy.momentum": (
        {"privacy": {"momentum": 0.5, "optimizer": "adam"}},
        {"privacy": {"momentum": 0.5, "optimizer": "sgd"}},
    ),
    "simulation.dropouts": (
        {"rounds": 8, "simulation": {"dropouts": LATE}},
        {"rounds": 9, "simulation": {"dropouts": LATE}},
    ),
}
"""Each row of `UNREAD`: where nothing reads the setting, and the nearest place where it is read."""


def test_every_pair_has_both_its_places():
    others = [one.setting for one in UNREAD if not one.setting.startswith("vote.")]
    assert list(PAIRS) == others


@pytest.mark.parametrize("setting", PAIRS)
def test_a_setting_that_is_stated_for_nothing_is_refused(setting, tmp_path):
    unread, read = PAIRS[setting]
    with pytest.raises(ConfigError, match=f"{setting}: it "):
        load_config(None, unread)
    (tmp_path / "config.toml").write_text(dump_toml(load_config(None, read)), encoding="utf-8")
    assert load_config(tmp_path / "config.toml") == load_config(None, read)


def test_a_default_that_nothing_reads_is_no_fault(tmp_path):
    """The blend's own patience, in a short run or in a file of all defaults for one."""
    assert load_config(None, {"rounds": 2}).patience == 2
    (tmp_path / "config.toml").write_text(dump_toml(load_config()), encoding="utf-8")
    assert load_config(tmp_path / "config.toml", {"rounds": 1}).rounds == 1


DRAWS, HEADS = "negatives: loss 'softmax' takes all", "dim: it has to be a multiple of heads = 3"
MODES = [
    ({"name": "gru", "loss": "softmax", "negatives": 9}, (DRAWS, None, DRAWS)),
    (
        {"name": "gru", "loss": "softmax", "negatives": 9, "own": {"loss": "softmax"}},
        ("own: model 'gru' reads it under a budget", DRAWS, "own: no part of a blend"),
    ),
    ({"name": "gru", "negatives": 9}, (None, None, None)),
    ({"name": "attention", "dim": 66, "heads": 3}, (None, "own.dim: it has to", None)),
    ({"name": "attention", "dim": 64, "heads": 3}, (HEADS, HEADS, HEADS)),
    (
        {"name": "attention", "dim": 66, "heads": 3, "own": {"dim": 33}},
        ("own: model 'attention' reads it", None, "own: no part of a blend reads"),
    ),
    ({"name": "attention", "loss": "softmax", "negatives": 9}, (DRAWS, None, DRAWS)),
]
"""Settings of a sequence model: why they are refused without a budget, under one, and in a part."""


@pytest.mark.parametrize(("model", "refused"), MODES)
def test_settings_of_a_sequence_model_agree_with_what_each_mode_reads(model, refused):
    alone = {"task": "sequential", "model": model}
    under = {**alone, "privacy": {"dp": "local", "epsilon": 4.0}}
    part = {"model": {"parts": {"more": {"task": "sequential", "weights": [1.0], "model": model}}}}
    for tree, why in zip((alone, under, part), refused, strict=True):
        if why is None:
            load_config(None, tree)
            continue
        with pytest.raises(ConfigError, match=why):
            load_config(None, tree)


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
    with pytest.raises(ConfigError, match=rf"vote\.{name}: it is "):
        load_config(None, tree | {"vote": vote})
    # Agreements and runs of before that hold one are read, audited and gone on with.
    stored = load_config(None, tree | {"vote": {}}).model_dump(mode="json", exclude_none=True)
    assert validate(merge(stored, {"vote": vote}), "an agreement").vote is not None


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
