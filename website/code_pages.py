"""Pages of the data schema, and of the Python names that are public."""

from __future__ import annotations

from written import Page, code, table

import securefl_protocols
from securefl import api
from securefl.data import schema

API = {
    "securefl": ("securefl.api", list(api.__all__)),
    "securefl_protocols": ("securefl_protocols", list(securefl_protocols.__all__)),
}
EXTENSIONS = {
    "Tasks and models": ("securefl.config.task_spec", "securefl.tasks.base"),
    "Mechanisms": ("securefl.privacy.mechanisms.base",),
    "Accounting": ("securefl.privacy.accounting.events", "securefl.privacy.accounting.accountant"),
    "Engines": ("securefl.federation.transport.base",),
    "Audits": ("securefl.audit.verify", "securefl.audit.bundle.case"),
}
_TABLES = ("TRANSACTIONS", "PRODUCTS", "PROFILES", "BROWSING", "PROMOTIONS", "PRICES")
_KINDS = {
    "id": "integer",
    "number": "finite number",
    "time": "time without a zone",
    "text": "text",
    "flag": "true or false",
}


def pages() -> list[Page]:
    """Return the data schema, the public names, and where the code is extended."""
    return [_schema(), *(_names(name, *where) for name, where in API.items()), _extensions()]


def _schema() -> Page:
    parts = [
        "# Data schema\n",
        (
            "What each table has when a source has read it. No value is missing; more columns may"
            " be there. [Data](data.md) says where tables come from.\n"
        ),
    ]
    for name in _TABLES:
        rows = [
            (code(c.name), _KINDS[c.kind], _limit(c), "" if c.optional else "yes")
            for c in getattr(schema, name)
        ]
        parts.append(
            f"## {name.lower()}\n\n" + table(("column", "kind", "limit", "required"), rows)
        )
    return Page("reference/schema.md", "Data schema", "\n".join(parts))


def _limit(column: schema.Column) -> str:
    if column.least is not None:
        return f"at least {column.least:g}"
    return "" if column.above is None else f"above {column.above:g}"


def _names(name: str, module: str, names: list[str]) -> Page:
    shown = "\n\n".join(f"::: {module}.{item}" for item in sorted(names, key=str.lower))
    text = f"# {name}\n\nThe names that `import {name}` offers.\n\n{shown}\n"
    return Page(f"reference/api/{name}.md", name, text)


def _extensions() -> Page:
    parts = ["# Where the code is extended\n"]
    for title, modules in EXTENSIONS.items():
        parts.append(f"## {title}\n\n" + "\n\n".join(f"::: {module}" for module in modules))
    return Page("reference/api/extensions.md", "Extension points", "\n\n".join(parts) + "\n")
