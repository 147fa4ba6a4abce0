"""Pages of what an auditor meets: checks, the bundle's fields, messages, errors."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from typing import Any, get_args

from written import Page, attributes, code, prose, summary, table

import securefl
from securefl.audit.bundle.bundle import bundle_schema
from securefl.audit.checks.registry import CHECKS, Check
from securefl.errors import SecureflError
from securefl.federation.messages.base import Message
from securefl.federation.messages.codec import AnyMessage

CHECK_FOLDER = "reference/checks"
_VERDICTS = (
    "A check says `pass`, `warn`, `fail` or `not checked`; "
    "[Auditing a run](../../howto/audit.md) says what each means for the verdict."
)


def pages() -> list[Page]:
    """Return the pages of checks, of the bundle's fields, of messages and of errors."""
    index = (
        "# Checks\n\nWhat `securefl audit verify` checks, in its order, and what holds when the"
        " check passes.\n\n"
    )
    for group in dict.fromkeys(check.group for check in CHECKS):
        rows = [
            (f"[`{check.name}`]({check.name}.md)", prose(check.claim))
            for check in CHECKS
            if check.group == group
        ]
        index += f"## {group}\n\n" + table(("check", "holds when it passes"), rows) + "\n"
    return [
        Page(f"{CHECK_FOLDER}/index.md", "All checks", index),
        *(Page(f"{CHECK_FOLDER}/{check.name}.md", check.name, _check(check)) for check in CHECKS),
        Page("reference/bundle-fields.md", "Fields of a bundle", "\n".join(_bundle())),
        Page("reference/messages.md", "Messages", "\n".join(_messages())),
        Page("reference/errors.md", "Errors", _errors()),
    ]


def _check(check: Check) -> str:
    detail = (check.run.__doc__ or "").partition("\n\n")[2]
    parts = [
        f"# {check.name}\n",
        f"**{check.group}.** {prose(check.claim)}\n",
        prose(detail) + "\n" if detail.strip() else "",
        f"## If it does not pass\n\n{prose(check.remedy)}\n",
        f"## Verdict\n\n{_VERDICTS}\n",
    ]
    if check.needs:
        parts.append("## What it needs\n\nWithout these facts it does not run:\n")
        parts += [f"- {need.fact}" for need in check.needs]
    where = check.run.__code__.co_filename.rpartition("securefl/")[2]
    parts.append(f"\nThe code is `{check.run.__name__}` in `securefl/{where}`.\n")
    return "\n".join(part for part in parts if part)


def _bundle() -> Iterator[str]:
    schema = bundle_schema()
    yield "# Fields of a bundle\n"
    yield (
        "From `bundle.schema.json`, which `securefl` validates with. [The bundle, byte by byte]"
        "(bundle.md) says how each is encoded, and what a verifier does with it.\n"
    )
    yield f"## Bundle\n\n{_fields(schema)}"
    for name, definition in sorted(schema["$defs"].items()):
        if "properties" in definition:
            yield f"## {name}\n"
            yield prose(str(definition.get("description", "")).partition("\n\n")[0]) + "\n"
            yield _fields(definition)


def _fields(definition: Mapping[str, Any]) -> str:
    required = set(definition.get("required", ()))
    return table(
        ("field", "type", "required"),
        [
            (code(name), _type(field), "yes" if name in required else "")
            for name, field in definition["properties"].items()
        ],
    )


def _type(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in field:
        return code(field["const"])
    for key in ("anyOf", "oneOf"):
        if key in field:
            return " or ".join(_type(option) for option in field[key])
    if "enum" in field:
        return ", ".join(code(value) for value in field["enum"])
    kind = str(field.get("type", "any"))
    if kind == "array":
        return f"list of {_type(field.get('items', {}))}"
    return f"{kind}, {code(field['pattern'])}" if "pattern" in field else kind


def _messages() -> Iterator[str]:
    yield "# Messages\n"
    yield (
        "What coordinator and members send each other, as strict msgpack maps that begin with their"
        " `kind`. An unknown kind, and a missing, unknown, mistyped or repeated field, is refused."
        " Messages inside of a masked session are in [the specification](../specification/"
        "wire-messages.md).\n"
    )
    for message in get_args(AnyMessage):
        yield f"## {message.model_fields['kind'].default}\n"
        yield summary(message) + "\n"
        yield from _message(message)


def _message(message: type[Message]) -> Iterator[str]:
    said = attributes(message)
    rows = [
        (
            code(name),
            code(getattr(field.annotation, "__name__", field.annotation)),
            said.get(name, ""),
        )
        for name, field in message.model_fields.items()
        if name != "kind"
    ]
    if rows:
        yield table(("field", "type", "meaning"), rows)


def _errors() -> str:
    for module in pkgutil.walk_packages(securefl.__path__, "securefl."):
        if not module.name.endswith("__main__"):  # that would run
            # Flower is in an environment of its own.
            with suppress(ModuleNotFoundError) if ".flower" in module.name else nullcontext():
                importlib.import_module(module.name)
    classes = sorted(_below(SecureflError), key=lambda error: error.__name__)
    rows = [(code(e.__name__), e.exit_code, code(e.wire_name), summary(e)) for e in classes]
    return (
        "# Errors\n\nEvery error that a user can do something about is one line on stderr and an"
        " exit code. Its name on the wire stays when the class is renamed.\n\n"
        + table(("error", "exit code", "on the wire", "means"), rows)
        + "\nThe other codes: 0 done; 3 a check has doubts, or evidence is incomplete; 70 a bug in"
        " securefl; 129, 130 and 143 interrupted; 141 the reader of the output has gone.\n"
    )


def _below(error: type[SecureflError]) -> set[type[SecureflError]]:
    inner = (found for child in error.__subclasses__() for found in _below(child))
    return {error, *inner}
