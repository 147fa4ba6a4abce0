"""A member's lines kept in the cache, under a digest of its files and of all that reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from securefl.config.data import FilesSettings, MemberFiles
from securefl.data import grouping, paged, radix, schema, threads
from securefl.data.cache import cached_with_note, digest
from securefl.data.sources.files.findings import Findings
from securefl.data.sources.files.locate import table_files
from securefl.data.sources.files.order import without_discount

WORTH: Final = 8 << 20
"""Bytes of a member's files from which on their lines are kept: smaller ones are read as fast."""

KEPT: Final = 2
"""States of a member's files that stay in the cache; they are large."""

_HERE: Final = Path(__file__).parent
_BELOW: Final = [
    Path(module.__file__ or "") for module in (grouping, paged, radix, schema, threads)
]


class Refused(Exception):
    """The lines are not to be kept: the rules refuse them."""


def prepared_lines(
    member: MemberFiles,
    settings: FilesSettings,
    named: object,
    findings: Findings,
    read: Callable[[], pd.DataFrame | None],
) -> pd.DataFrame | None:
    """Return a member's lines from the cache, or read and kept; None if there are none.

    What the rules left out is kept beside the lines, and said at every start. A query of a
    database is never kept: nothing tells whether its tables have changed.

    Args:
        member: Whose lines.
        settings: What all members share.
        named: What numbers products and customers; its `repr` says all of it.
        findings: Where what was found goes.
        read: Reads the lines, and adds what it finds to `findings`.
    """
    if member.database is not None or not settings.cache:
        return read()
    files = [file.path for file in table_files(settings.root / member.transactions)]
    if sum(file.stat().st_size for file in files) < WORTH:
        return read()
    import duckdb

    refused: list[pd.DataFrame | None] = []
    columns = member.columns or settings.columns
    # One 0 that stands for all lines would be 8 bytes a line on the disk.
    discounted = columns.discount is not None

    def build() -> tuple[pd.DataFrame, str]:
        lines = read()
        if lines is None or any(found.action == "refuse" for found in findings.all):
            refused.append(lines)
            raise Refused
        kept = lines if discounted else lines.drop(columns="discount")
        return kept, json.dumps(findings.to_tree())

    own = (columns, member.format or settings.format, findings.rules)
    apart = str(findings.apart)
    code = digest(sorted([*_HERE.glob("*.py"), *_BELOW]))
    versions = (code, duckdb.__version__, pd.__version__, np.__version__)
    options = (
        *(one.model_dump_json() for one in own),
        settings.period,
        apart,
        hashlib.sha256(repr(named).encode()).hexdigest(),
    )
    key = digest(files, [str(file) for file in files], versions, options)
    try:
        lines, note = cached_with_note(f"files-{member.name}", key, build, KEPT)
    except Refused:
        return refused[0]
    findings.restore(json.loads(note))
    return lines if discounted else without_discount(lines)
