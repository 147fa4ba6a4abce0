import pytest

from securefl.config.load import load_config, merge
from securefl.config.metric_labels import LABELS, MetricLabel, register_labels
from securefl.config.task_registry import TASKS, declaration
from securefl.errors import ConfigError
from securefl.tasks.registry import check_model


@pytest.mark.parametrize("name", TASKS)
def test_every_packaged_default_is_a_configuration_of_its_task(name):
    declared = declaration(name)
    assert declared.name == name
    for source in declared.defaults:
        config = load_config(None, {"task": name, "data": {"source": source}})
        assert config.task == name
        assert config.model.name in declared.model_names
        assert type(config.cuts) is declared.split_settings


@pytest.mark.parametrize("name", TASKS)
def test_every_protection_that_is_declared_is_a_valid_run(name):
    declared = declaration(name)
    for choice in declared.models:
        for unit in choice.units:
            # Only a sum hides a member.
            for protection in ["distributed"] if unit == "member" else choice.protections:
                privacy = {"dp": protection, "epsilon": 4.0, "unit": unit}
                tree = {"task": name, "model": {"name": choice.name}, "privacy": privacy}
                check_model(load_config(None, tree))


def test_a_file_with_the_sections_of_two_tasks_serves_both():
    tree = {"demand": {"min_mean": 7.0}, "recommendation": {"negatives": 50}}
    assert load_config(None, tree).cuts.negatives == 50
    assert load_config(None, merge(tree, {"task": "demand"})).cuts.min_mean == 7.0


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"recommendation": {"negatvies": 5}}, "'recommendation.negatvies'; did you mean 'negat"),
        ({"demand": {"min_mena": 5}}, "min_mena"),
        ({"cuts": {"negatives": 5}}, "unknown key 'cuts'; did you mean 'recommendation'"),
        ({"recommendation": 5}, "recommendation: input should be a valid dictionary"),
    ],
)
def test_a_mistake_in_a_tasks_section_is_named(tree, message):
    with pytest.raises(ConfigError) as caught:
        load_config(None, tree)
    assert message in str(caught.value)


def test_one_metric_has_one_label():
    other = MetricLabel("MAPE", "something else", True, False, "Nothing", True)
    register_labels({"mape": LABELS["mape"]})
    with pytest.raises(ValueError, match="another label"):
        register_labels({"mape": other})
