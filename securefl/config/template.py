"""A commented configuration to start from, written out of the settings' own descriptions."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import tomli_w
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from securefl.config.load import SOURCES, Tree, load_config
from securefl.config.privacy import protections
from securefl.config.schema import CUTS
from securefl.config.task_registry import TASKS, declaration
from securefl.errors import InputError
from securefl.untrusted.text import one_line

_Said = Mapping[str, Any] | list[Mapping[str, Any]]
_Sections = BaseModel | tuple[BaseModel, ...]
_WIDTH = 96
_EXAMPLE_FILES: Mapping[str, Any] = {
    "catalogue": "catalogue.csv",
    "members": [
        {"name": "north", "transactions": "north/transactions.csv"},
        {"name": "south", "transactions": "south/transactions.csv"},
        {"name": "west", "transactions": "west/transactions.csv"},
    ],
}


_MATTER = frozenset(
    {
        *("task", "mode", "seed", "rounds", "data.source", "data.period", "model.name"),
        *("data.columns.customer", "data.columns.product", "data.columns.time"),
        *("data.columns.quantity", "data.columns.value", "data.columns.basket"),
        *("training.learning_rate", "training.local_epochs"),
        *("privacy.dp", "privacy.epsilon", "privacy.delta"),
    }
)
"""What a person decides first; all else has defaults that serve."""


def write_starter(path: Path, task: str, source: str, *, whole: bool = False) -> None:
    """Write `starter_toml` to a new file.

    Raises:
        InputError: If the file exists, or cannot be written.
    """
    write_new(path, starter_toml(task, source, whole=whole))


def write_new(path: Path, text: str) -> None:
    """Write a new file.

    Raises:
        InputError: If the file exists, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path} exists; it was not touched") from None
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def starter_toml(task: str, source: str, *, whole: bool) -> str:
    """Return a configuration that changes nothing, with settings in it and what they mean.

    Only what has to be said is said: task, source, model. All else is at its default and stands
    behind a `#`. For the source `files`, the names of the files are examples.

    Args:
        task: The task.
        source: Where the data come from.
        whole: Whether every setting is in it, or those alone that matter first.

    Raises:
        ConfigError: If there is no such task or source.
    """
    said: Tree = {"task": task, "data": {"source": source}}
    if source == "files":
        said["data"] |= _EXAMPLE_FILES
    config = load_config(None, said)
    said["model"] = {"name": config.model.name}
    models = declaration(task).model_names
    choices = {
        "task": TASKS,
        "data.source": SOURCES,
        "model.name": models,
        "privacy.dp": protections(),
    }
    lines = [
        f"# A run of the {task} task on the source '{source}'.",
        "# A line that begins with '# name =' is a setting at its default; remove the # to change",
        "# it. To run it: securefl run THIS_FILE",
        *([] if whole else _rest(task, source)),
        "",
        *_Writer(choices, {CUTS: task}, None if whole else _MATTER).section(config, said, ""),
    ]
    return "\n".join(lines) + "\n"


def _rest(task: str, source: str) -> list[str]:
    """Return where the other settings are, as comments."""
    command = f"securefl config init --all --task {task} --data {source} all.toml"
    return [
        "# These are the settings that matter first. All of them, explained:",
        f"#   {command}",
        "# What a run would use: securefl config show THIS_FILE",
    ]


def proposal_toml(tree: Tree, said: Iterable[str], others: Mapping[str, Tree]) -> str:
    """Return a configuration that was made from data, and what led to it.

    Args:
        tree: The settings.
        said: What was found out, one line each.
        others: Other tasks that the data allow, with their settings.
    """
    lines = [
        "# Proposed by securefl data init. What was found:",
        *(line for text in said for line in _comment(f"- {one_line(text)}")),
        "# All other settings: securefl config show THIS_FILE",
        "",
        tomli_w.dumps(tree),
    ]
    for task, thresholds in others.items():
        section = tomli_w.dumps({task: thresholds}).rstrip().splitlines()
        lines += [f"# Also possible: --task {task}, with", *(f"# {line}" for line in section), ""]
    return "\n".join(lines)


class _Writer:
    """Walks through the sections.

    Args:
        choices: What else could be said, by the full name of the setting.
        called: Sections that have another name in a file than in the configuration.
        only: Full names of settings to write beside those that are said; None for all.
    """

    def __init__(
        self,
        choices: Mapping[str, tuple[str, ...]],
        called: Mapping[str, str],
        only: frozenset[str] | None,
    ) -> None:
        self._choices = choices
        self._called = called
        self._only = only

    def section(self, settings: BaseModel, said: Mapping[str, Any], path: str) -> Iterator[str]:
        """The settings of one section, then the sections below it."""
        below = []
        for name, field in type(settings).model_fields.items():
            value = getattr(settings, name)
            if isinstance(value, dict):  # sections that have names
                below += [(f"{name}.{key}", field, one) for key, one in value.items()]
            elif isinstance(value, BaseModel) or (name in said and isinstance(said[name], list)):
                below.append((name, field, value))
            elif self._only is None or name in said or path + name in self._only:
                yield from self._setting(path + name, field, value, name in said)
        for name, field, value in below:
            shown = self._called.get(path + name, path + name)
            yield from self._below(shown, field, value, said.get(name, {}))

    def _below(self, path: str, field: FieldInfo, value: _Sections, said: _Said) -> Iterator[str]:
        single = isinstance(value, BaseModel)
        entries = [value] if isinstance(value, BaseModel) else value
        told = [said] if isinstance(said, Mapping) else said
        for entry, given in zip(entries, told, strict=True):
            inside = list(self.section(entry, given, f"{path}."))
            if not inside and self._only is not None:
                continue
            yield ""
            yield from _comment(field.description or _meaning(type(entry)))
            yield f"[{path}]" if single else f"[[{path}]]"
            yield from inside

    def _setting(self, path: str, field: FieldInfo, value: object, said: bool) -> Iterator[str]:
        choices = self._choices.get(path) or _literals(field.annotation)
        if field.description:
            yield from _comment(field.description)
        if len(choices) > 1:
            yield from _comment(f"One of: {', '.join(choices)}.")
        name = path.rpartition(".")[2]
        if value is None:
            yield f"# {name}: not set"
        else:
            yield f"{'' if said else '# '}{name} = {_toml(value)}"


def _literals(annotation: object) -> tuple[str, ...]:
    found = get_args(annotation) if get_origin(annotation) is Literal else ()
    return tuple(str(name) for name in found)


def _toml(value: object) -> str:
    """Strings, numbers, booleans and lists of them are the same in JSON and TOML."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _meaning(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").partition("\n")[0]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]
