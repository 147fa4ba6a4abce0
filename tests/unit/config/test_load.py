import tomllib

import pytest

from securefl.config.load import dump_toml, load_config, merge, read_toml, validate
from securefl.errors import ConfigError


def write(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_defaults_alone_are_a_run():
    config = load_config()
    assert (config.task, config.data.source, config.model.name) == (
        "recommendation",
        "complete-journey",
        "blend",
    )


def test_options_win_over_the_file_and_the_file_over_the_defaults(tmp_path):
    path = write(tmp_path, 'rounds = 7\nseed = 3\n[data]\nsource = "tutorial"\n')
    config = load_config(path, {"seed": 5})
    assert (config.rounds, config.seed, config.model.name) == (7, 5, "rating-ncf")


def test_the_reference_arms_start_from_training(tmp_path):
    path = write(
        tmp_path,
        '[data]\nsource = "tutorial"\n[training]\nbatch_size = 77\n'
        "[references.alone]\nlearning_rate = 0.5\n",
    )
    references = load_config(path).references
    assert (references.alone.batch_size, references.alone.learning_rate) == (77, 0.5)
    assert references.pooled.batch_size == 77
    assert references.pooled.learning_rate != 0.5


def test_the_resolved_configuration_resolves_to_itself():
    for task, source in [("recommendation", "tutorial"), ("demand", "complete-journey")]:
        config = load_config(None, {"task": task, "data": {"source": source}})
        assert validate(tomllib.loads(dump_toml(config)), "x") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("roundz = 3", "unknown key 'roundz'; did you mean 'rounds'"),
        ("[training]\nlerning_rate = 1", "unknown key 'training.lerning_rate'; did you mean 'lea"),
        ("[references.alone]\nepoch = 1", "unknown key 'references.alone.epoch'"),
        ("[data]\nsorce = 'x'", "unknown key 'data.sorce'; did you mean 'source'"),
        ("[model]\nname = 'mf'\ndimm = 3", "unknown key 'model.dimm'; did you mean 'dim'"),
        ("task = 'recomendation'", "task: unknown value 'recomendation'; did you mean 'recom"),
        ("[data]\nsource = 'journey'", "data.source: unknown value 'journey'"),
        ("rounds = 0", "rounds: input should be greater than"),
        ("rounds = 'many'", "rounds: input should be a valid integer"),
        ("[training]\nlearning_rate = nan", "training.learning_rate: input should be"),
        ("rounds =", "no valid TOML"),
        ("data = 3", "data must be a section"),
        ("[cohort]\nfraction = 2.0", "cohort.fraction: input should be less"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", "# all of it\n# is a comment\n", "[data]\n"])
def test_a_file_that_states_nothing_is_no_wish_for_the_defaults(tmp_path, text):
    """Also with options on top: it was written for a reason, and lost its content."""
    path = write(tmp_path, text)
    for options in ({}, {"seed": 5}):
        with pytest.raises(ConfigError, match=r"run\.toml states nothing; .* config init"):
            load_config(path, options)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        read_toml(tmp_path / "none.toml")


def test_merge_changes_neither_side():
    base, over = {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}
    assert merge(base, over) == {"a": {"b": 3, "c": 2}}
    assert base == {"a": {"b": 1, "c": 2}}


def test_ghost_is_refused_with_what_to_write():
    with pytest.raises(ConfigError, match=r"gradients.*'ghost' was removed; use 'auto'"):
        load_config(None, {"privacy": {"gradients": "ghost"}})
