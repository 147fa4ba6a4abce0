"""Every setting of a configuration, from the classes that validate it."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from written import Page, code, prose, summary, table

from securefl.config.schema import CUTS, RunConfig
from securefl.config.task_registry import TASKS, declaration

FOLDER = "reference/settings"
HEAD = ("setting", "value", "default", "meaning")
_HEAD_TEXT = (
    "The keys of a configuration file, `securefl run FILE.toml`. `securefl config show FILE.toml`"
    " prints what a run would use, and `securefl config init` writes a commented file to start"
    " from. A key that is not here is refused.\n"
)
_BY_TASK = {"model", CUTS}


def pages() -> list[Page]:
    """Return a page for what all tasks share, and one for each task."""
    shared = [
        "# Settings of every run\n",
        _HEAD_TEXT,
        *_section(RunConfig, "", leave=_BY_TASK),
    ]
    return [
        Page(f"{FOLDER}/index.md", "Every run", "\n".join(shared)),
        *(Page(f"{FOLDER}/{task}.md", task, "\n".join(_task(task))) for task in TASKS),
    ]


def _task(task: str) -> Iterator[str]:
    spec = declaration(task)
    yield f"# Settings of the task {task}\n"
    yield f"{prose(spec.description)}\n" if hasattr(spec, "description") else ""
    yield f"## `[{task}]`\n"
    yield summary(spec.split_settings) + "\n"
    yield from _section(spec.split_settings, f"{task}.", level=3)
    for model in spec.models:
        yield f'## `[model]` with `name = "{model.name}"`\n'
        yield summary(model.settings) + "\n"
        yield from _section(model.settings, "model.", level=3)


def _section(
    settings: type[BaseModel], path: str, leave: set[str] = frozenset(), level: int = 2
) -> Iterator[str]:
    """Yield the table of one section, then the sections below it."""
    rows, below = [], []
    for name, field in settings.model_fields.items():
        if name in leave:
            continue
        if inner := list(_inner(field.annotation)):
            below += [(name, one, field, len(inner) > 1) for one in inner]
        else:
            rows.append(
                (code(path + name), _type(field), _default(field), prose(field.description))
            )
    if rows:
        yield table(HEAD, rows)
    for name, inner, field, one_of in below:
        yield f"{'#' * level} `[{path}{name}]`{_which(inner) if one_of else ''}\n"
        yield prose(field.description or (inner.__doc__ or "").partition("\n\n")[0]) + "\n"
        yield from _section(inner, f"{path}{name}.", level=level)


def _inner(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation
    """Yield the classes of settings in an annotation; several where one of them is chosen."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _inner(part)


def _which(settings: type[BaseModel]) -> str:
    """Return how a configuration chooses this class, by the setting that has one value alone."""
    for name, field in settings.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return f" with `{name} = {_toml(get_args(field.annotation)[0])}`"
    return ""


def _type(field: FieldInfo) -> str:
    limits = ", ".join(filter(None, map(_limit, field.metadata)))
    return _named(field.annotation) + (f" ({limits})" if limits else "")


def _named(annotation: Any) -> str:  # noqa: ANN401 - any annotation
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(code(part) for part in parts)
    if origin is Annotated:
        limits = ", ".join(filter(None, map(_limit, parts[1:])))
        return _named(parts[0]) + (f" ({limits})" if limits else "")
    if origin in {Union, UnionType}:
        return " or ".join(_named(part) for part in parts if part is not type(None))
    if origin is tuple:
        return f"list of {_named(parts[0])}"
    if origin is not None and len(parts) == 2:
        return f"table of {_named(parts[1])}"
    words = {"str": "text", "int": "integer", "float": "number", "bool": "`true`, `false`"}
    name = getattr(annotation, "__name__", str(annotation))
    return words.get(name, name)


def _limit(rule: object) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    found = [f"{sign} {getattr(rule, key):g}" for key, sign in signs.items() if _has(rule, key)]
    return " and ".join(found)


def _has(rule: object, key: str) -> bool:
    return isinstance(getattr(rule, key, None), int | float)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "by task and source"
    return "not set" if value is None else code(_toml(value))


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case tuple() | list() | frozenset() | set():
            return f"[{', '.join(_toml(item) for item in value)}]"
    return str(value)
