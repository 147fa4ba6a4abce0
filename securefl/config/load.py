"""From a TOML file and command-line options to one validated configuration.

Later wins: the packaged defaults of task and source, the user's file, the options.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, get_args

import tomli_w
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from securefl.config.privacy import Unit, implied
from securefl.config.schema import CUTS, Mode, RunConfig
from securefl.config.task_registry import TASKS, declaration
from securefl.config.unread import unread
from securefl.errors import ConfigError
from securefl.untrusted import documents
from securefl.untrusted.text import fault


def packaged(package: str, name: str) -> dict[str, Any]:
    """Return the tree in `defaults/<name>.toml` beside a task's code."""
    file = resources.files(package) / "defaults" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


Tree = dict[str, Any]
DEFAULT_SOURCE = "complete-journey"
SOURCES = ("complete-journey", "tutorial", "files")
MODES: tuple[str, ...] = get_args(Mode)
UNITS: tuple[str, ...] = get_args(Unit)
_TAGS = {"data": "source", "model": "name"}
"""Sections that are one of several, and the key that says which."""


def load_config(path: Path | None = None, options: Mapping[str, Any] | None = None) -> RunConfig:
    """Return the configuration of a run.

    Args:
        path: The user's TOML file, or None for the defaults alone.
        options: A tree like the file's, for example from the command line; wins over the file.

    Raises:
        ConfigError: If the file is empty or cannot be read, does not validate, or states what
            nothing reads; one line with the key.
    """
    file = read_toml(path) if path else {}
    if path and all(value == {} for value in file.values()):
        raise ConfigError(f"{path} states nothing; write one with: securefl config init NEW.toml")
    where = str(path) if path else "configuration"
    if path and "data" in file:
        file["data"] = _anchored(file["data"], path.parent)
    given = _override(file, options or {})
    _require_files(given, where)
    usual = _defaults(given, where)
    config = validate(merge(usual, given), where)
    if (why := unread(config, given, usual)) is not None:
        raise ConfigError(f"{where}: {why}")
    return config


def _override(file: Tree, options: Mapping[str, Any]) -> Tree:
    """Options on top of a file; one that picks another source or model starts that section anew."""
    replaced = {
        section
        for section, tag in _TAGS.items()
        if isinstance(file.get(section), Mapping)
        and isinstance(options.get(section), Mapping)
        and options[section].get(tag) not in (None, file[section].get(tag))
    }
    kept = {section: value for section, value in file.items() if section not in replaced}
    return merge(kept, options)


def _require_files(given: Mapping[str, Any], where: str) -> None:
    data = given.get("data")
    if isinstance(data, Mapping) and data.get("source") == "files" and "members" not in data:
        raise ConfigError(
            f"{where}: the source 'files' needs a configuration that names each retailer's files;"
            " start one with: securefl config init --data files"
        )


def _anchored(data: object, folder: Path) -> object:
    """Relative file names in a configuration are meant from where that file lies."""
    if not isinstance(data, dict) or data.get("source") != "files":
        return data
    return {**data, "root": str((folder / data.get("root", ".")).resolve())}


def read_toml(path: Path) -> Tree:
    """Return the tree in a TOML file.

    Raises:
        ConfigError: If it is missing, unreadable, too large, too deep, or no TOML.
    """
    return documents.read_toml(path, error=ConfigError)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """`over` on top of `base`, section by section."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        result[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return result


def read_dumped(path: Path) -> RunConfig:
    """Return the configuration in a file that `dump_toml` made.

    Raises:
        ConfigError: If it is missing or damaged.
    """
    # Without the arms' own start from `[training]`: TOML has no null, so that a value that is none
    # is missing in a dump, and would come back as that of `[training]`.
    return _validated(read_toml(path), str(path))


def validate(tree: Mapping[str, Any], where: str) -> RunConfig:
    """Return a configuration from a complete tree; the reference arms start from `[training]`.

    Raises:
        ConfigError: If a key is unknown or a value is not allowed.
    """
    references = tree.get("references", {})
    if isinstance(references, Mapping) and isinstance(tree.get("training", {}), Mapping):
        arms = {
            arm: merge(tree.get("training", {}), references.get(arm, {}))
            for arm in ("alone", "pooled")
            if isinstance(references.get(arm, {}), Mapping)
        }
        tree = {**tree, "references": {**references, **arms}}
    return _validated(tree, where)


_LARGEST: Final = 2**53 - 1
"""What is agreed on is signed as JSON, and all readers of JSON agree on integers up to it."""


def _validated(tree: Mapping[str, Any], where: str) -> RunConfig:
    if (key := _too_large(tree)) is not None:
        raise ConfigError(f"{where}: {key}: input should be at most {_LARGEST:,} in size")
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error.errors()[0], tree)}") from None


def _too_large(value: object, key: str = "") -> str | None:
    """Return the key of the first integer that cannot be signed; None if there is none."""
    if isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        found = (_too_large(inner, f"{key}.{name}" if key else str(name)) for name, inner in items)
        return next((one for one in found if one is not None), None)
    return key if isinstance(value, int) and abs(value) > _LARGEST else None


def dump_toml(config: RunConfig) -> str:
    """Return the configuration as TOML, every default filled in."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def default_config(task: str, source: str) -> Tree:
    """Return the packaged defaults of a task on a source.

    Raises:
        ConfigError: If there is no such task or source.
    """
    _known("task", task, TASKS)
    _known("data.source", source, SOURCES)
    defaults = declaration(task).defaults
    if _origin(source) not in defaults:
        sources = [name for name in SOURCES if _origin(name) in defaults]
        raise ConfigError(f"data.source: task '{task}' takes {' or '.join(sources)}")
    tree = {"task": task, "data": {"source": source}, **defaults[_origin(source)]}
    if source == "files":
        tree["data"] = {"source": "files"}
        # How many samples a public source has is known; of own files it is not.
        tree["secure"] = {**tree.get("secure", {}), "expected_samples": 0}
    return tree


def private_defaults(task: str, source: str, protection: str) -> Tree:
    """Return what the packaged defaults change where every customer is protected.

    A model that is good without noise has too many parameters to be good with it.
    """
    return dict(declaration(task).changes.get((_origin(source), protection), {}))


def _with_private(tree: Tree, changes: Tree) -> Tree:
    """Another model starts its section anew."""
    return merge({**tree, "model": {}} if "model" in changes else tree, changes)


def _origin(source: str) -> str:
    """Return whose defaults a source has: own files are most like the real transactions."""
    return DEFAULT_SOURCE if source == "files" else source


def _defaults(given: Mapping[str, Any], where: str) -> Tree:
    data, privacy = given.get("data", {}), given.get("privacy", {})
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: data must be a section")
    task = str(given.get("task", "recommendation"))
    source = str(data.get("source", DEFAULT_SOURCE))
    protection = str(privacy.get("dp", "none")) if isinstance(privacy, Mapping) else "none"
    try:
        tree = default_config(task, source)
        if isinstance(privacy, Mapping):
            if made := implied(privacy):
                tree = merge(tree, {"privacy": made})
            tree = _with_private(tree, private_defaults(task, source, protection))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    model = given.get("model", {})
    chosen = model.get("name") if isinstance(model, Mapping) else None
    usual = _usual_model(task, tree["model"]["name"], protection)
    if (chosen or usual) != tree["model"]["name"]:
        tree["model"] = {} if chosen else {"name": usual}
    tree = merge(tree, _model_defaults(task, chosen or usual, protection))
    if protection != "none":
        tree.pop("patience", None)  # no score may end a run under a budget
    return tree


def other_default(config: RunConfig) -> str | None:
    """Return one sentence where a budget takes another default model; None where it does not."""
    if config.privacy.dp == "none":
        return None
    plain = default_config(config.task, config.data.source)["model"]["name"]
    choice, model = declaration(config.task).choice(plain), config.model.name
    if model == plain or choice is None or choice.units:
        return None
    return f"model {model}: {plain}, the default without a budget, has no priced release"


def _usual_model(task: str, model: str, protection: str) -> str:
    """Return the default model, or under a budget the first of its task that keeps to one.

    The packaged mechanisms have theirs in `TaskSpec.changes`; one that is installed beside them
    is in no table, and must not be handed a model that has no price.
    """
    models, choice = declaration(task).models, declaration(task).choice(model)
    if protection == "none" or choice is None or choice.units:
        return model
    return next((one.name for one in models if one.units), model)


def _model_defaults(task: str, model: str, protection: str) -> Tree:
    """Return what a model changes in the defaults of its task."""
    choice = declaration(task).choice(model)
    if choice is None:
        return {}
    changes = choice.changes
    plain, private = changes.get("none", {}), changes.get(protection, {})
    return merge(plain, private)


def _known(key: str, value: str, names: tuple[str, ...]) -> None:
    if value not in names:
        raise ConfigError(f"{key}: unknown value '{value}'{nearest(value, names)}")


def nearest(word: str, names: tuple[str, ...]) -> str:
    """Return a hint that ends an error message: the nearest known name, or all of them."""
    if not names:
        return ""
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names)}"


def _explain(error: ErrorDetails, tree: Mapping[str, Any]) -> str:
    path = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        siblings = tuple(_siblings(path, str(tree.get("task"))))
        return f"unknown key '{'.'.join(_shown(path, tree))}'{nearest(path[-1], siblings)}"
    if error["type"] == "union_tag_invalid":
        tag = ".".join([*path, error["ctx"]["discriminator"].strip("'")])
        names = tuple(part.strip("'") for part in error["ctx"]["expected_tags"].split(", "))
        return f"{tag}: unknown value '{error['ctx']['tag']}'{nearest(error['ctx']['tag'], names)}"
    return f"{'.'.join(_shown(path, tree))}: {fault(error)}" if path else fault(error)


def _siblings(path: list[str], task: str) -> list[str]:
    """Return what the key at the end of a path could have been called."""
    if path[:-1] and path[0] in ("model", CUTS):
        declared = declaration(task)
        kinds = [choice.settings for choice in declared.models if choice.name in path[:2]]
        section = (
            (kinds or [declared.models[0].settings])[0]
            if path[0] == "model"
            else declared.split_settings
        )
        return _fields_at(
            section, [part for part in path[1:-1] if part not in declared.model_names]
        )
    names = [name for name in RunConfig.model_fields if name != CUTS]
    return [*names, task] if len(path) == 1 else _fields_at(RunConfig, path[:-1])


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """Field names of the section at a location as pydantic reports it (union tags included)."""
    if not path:
        return list(model.model_fields)
    field = model.model_fields.get(path[0])
    if field is None:
        return []
    for candidate in _models_in(field.annotation):
        rest = path[1:]
        tag = _tag(candidate)
        if tag is not None and rest[:1] == [tag]:
            return _fields_at(candidate, rest[1:])
        if tag is None:
            return _fields_at(candidate, [p for p in rest if not p.isdigit()])
    return []


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _tag(model: type[BaseModel]) -> str | None:
    for key in ("source", "name"):
        field = model.model_fields.get(key)
        if field is not None and isinstance(field.default, str):
            return field.default
    return None


def _shown(path: list[str], tree: Mapping[str, Any]) -> list[str]:
    """Return the location as the user wrote it: without the union tags that pydantic inserts."""
    section = tree.get(path[0], {})
    tag = section.get(_TAGS.get(path[0], "")) if isinstance(section, Mapping) else None
    kept = [part for place, part in enumerate(path) if place != 1 or part != tag or len(path) < 3]
    return [str(tree.get("task")), *kept[1:]] if kept[0] == CUTS else kept
