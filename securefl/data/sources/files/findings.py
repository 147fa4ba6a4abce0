"""All that is found in a table, counted: which rule, where first, how many lines and how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from securefl.config.files import LineRules
from securefl.errors import DataError

FIRST: Final = 10
"""Rows that are kept as examples."""

Rule = Literal[
    "unreadable",
    "encoding",
    "decimal",
    "time",
    "zone",
    "type",
    "lines",
    "cells",
    "bounds",
    "anonymous",
    "giant_customer",
    "returns",
    "zero_quantity",
    "negative_value",
    "outside",
    "stray_days",
    "near_products",
    "bad_gtin",
    "in_store",
    "unmatched",
    "duplicate_files",
    "repeated_lines",
    "short_coverage",
    "empty",
    "blank_lines",
    "written",
]


@dataclass(frozen=True)
class RuleText:
    """What a rule is about.

    Attributes:
        title: A few words for a table.
        correction: What to do where it refuses; empty where only the data can change.
        setting: The field of `LineRules` that decides; None for what is always refused.
        note: Whether it is only said, and refuses nothing.
    """

    title: str
    correction: str
    setting: str | None = None
    note: bool = False


RULES: Final[Mapping[Rule, RuleText]] = {
    "unreadable": RuleText(
        "file cannot be read",
        "correct it, or say what its columns are called (columns) and how it is written (format)",
    ),
    "encoding": RuleText(
        "text of unknown encoding",
        'set format.encoding = "cp1252" (Western Europe), or what the export says',
    ),
    "decimal": RuleText(
        "numbers of two meanings", 'set format.decimal = "." or format.decimal = ","'
    ),
    "time": RuleText("times of unknown form", "set format.time"),
    "zone": RuleText("times of a doubtful clock", 'set format.timezone, such as "Europe/Berlin"'),
    "type": RuleText("column of another type", ""),
    "lines": RuleText(
        "lines of another shape", 'correct the file, or set rules.broken = "drop"', "broken"
    ),
    "cells": RuleText(
        "cells missing or unreadable", 'correct the file, or set rules.broken = "drop"', "broken"
    ),
    "bounds": RuleText(
        "numbers that are not believed",
        "correct the file, or raise rules.most_quantity and rules.most_value",
        "broken",
    ),
    "anonymous": RuleText(
        "lines without a customer",
        'set rules.anonymous = "keep" or "drop"; a label that is a customer: rules.known_customers',
        "anonymous",
    ),
    "giant_customer": RuleText(
        "one customer with very many lines",
        "if it is no customer, such as the card of the till, name it in rules.unknown_customers;"
        " else raise rules.most_of_one",
    ),
    "returns": RuleText("returns", 'set rules.returns = "net" or "drop"', "returns"),
    "zero_quantity": RuleText(
        "lines of quantity 0", 'set rules.zero_quantity = "drop"', "zero_quantity"
    ),
    "negative_value": RuleText(
        "negative values", 'set rules.negative_value = "drop"', "negative_value"
    ),
    "outside": RuleText(
        "days outside the period", 'set data.period, or rules.outside = "drop"', "outside"
    ),
    "stray_days": RuleText(
        "days far from all others",
        'set data.period, or rules.stray_days = "keep" or "drop"',
        "stray_days",
    ),
    "near_products": RuleText(
        "labels the catalogue spells otherwise",
        'set rules.near_products = "match" or "keep"',
        "near_products",
    ),
    "bad_gtin": RuleText(
        "products without a right GTIN",
        'correct the file, or set rules.bad_gtin = "keep"',
        "bad_gtin",
    ),
    "in_store": RuleText("numbers of a retailer's own goods, coupons", "", note=True),
    "unmatched": RuleText(
        "products the catalogue does not list",
        "check data.catalogue_columns.product, or raise rules.most_unmatched",
    ),
    "duplicate_files": RuleText(
        "files with the same lines",
        'remove one, or set rules.duplicate_files = "drop"',
        "duplicate_files",
    ),
    "repeated_lines": RuleText(
        "lines equal to an earlier one",
        'look for an export that is there twice, set rules.repeated_lines = "drop", or raise'
        " rules.most_repeated",
        "repeated_lines",
    ),
    "short_coverage": RuleText(
        "days missing at an end of the period",
        'set data.period to the days that all have, or rules.short_coverage = "keep"',
        "short_coverage",
    ),
    "empty": RuleText("nothing is left", ""),
    "blank_lines": RuleText("lines of empty cells", "", note=True),
    "written": RuleText("written as", "", note=True),
}
"""The one table of what can be found; a rule with a setting says what becomes of its lines."""


@dataclass
class Finding:
    """What one rule met in one column of one file.

    Attributes:
        rule: The rule.
        member: The member's name; empty for what belongs to all.
        file: The file.
        column: The column's name in the file, None where no single one is meant.
        action: What became of the lines: `refuse`, `drop`, `keep`, `net`, `match` or `note`.
        lines: How many lines.
        revenue: Sum of their values, as far as they have any.
        first: The first rows, counted from 1, and what is wrong there.
        detail: Further text, such as examples.
    """

    rule: Rule
    member: str
    file: str
    column: str | None
    action: str
    lines: int = 0
    revenue: float = 0.0
    first: list[tuple[int, str]] = field(default_factory=list)
    detail: str = ""

    @property
    def correction(self) -> str:
        """What would let the data be read, empty where nothing is wrong."""
        return RULES[self.rule].correction if self.action == "refuse" else ""

    @property
    def line(self) -> str:
        """One line that says where, what, and how to go on."""
        place, problem = self.file, self.detail
        if self.first:
            row, text = self.first[0]
            column = "" if self.column is None else f", column '{self.column}'"
            place, problem = f"{place}: row {row}{column}", text
        elif self.column is not None:
            place = f"{place}: column '{self.column}'"
            return f"{place} {problem}{self._end}"
        return f"{place}: {problem}{self._end}" if problem else f"{place}{self._end}"

    @property
    def _end(self) -> str:
        more = f" (and {self.lines - 1:,} more such lines)" if self.first and self.lines > 1 else ""
        return more + (f"; {self.correction}" if self.correction else "")


_APART: Final[Mapping[Rule, str]] = {
    **dict.fromkeys(
        ("lines", "cells", "bounds", "anonymous", "returns", "zero_quantity", "negative_value"),
        "drop",
    ),
    "outside": "drop",
    "zone": "keep",
    "near_products": "keep",
    "unmatched": "note",
    "bad_gtin": "keep",
    "stray_days": "keep",
    "duplicate_files": "keep",
    "repeated_lines": "keep",
    "giant_customer": "keep",
    "short_coverage": "keep",
    "empty": "keep",
}
"""What becomes of lines where no line may decide about others: by each line alone."""


class Findings:
    """Collects what is found while a member's tables are read.

    Args:
        member: The member's name, empty for what belongs to all.
        rules: What becomes of the lines.
        apart: Whether no line may decide about others, as under a privacy budget: what a rule
            refuses is left out, and what only many lines tell is kept.
    """

    def __init__(self, member: str, rules: LineRules, *, apart: bool = False) -> None:
        self.member = member
        self.rules = rules
        self.apart = apart
        self.lines = 0
        self.revenue = 0.0
        self._found: dict[tuple[Rule, str, str | None], Finding] = {}

    def action(self, rule: Rule) -> str:
        """Return what becomes of the lines that a rule meets."""
        about = RULES[rule]
        if about.note:
            return "note"
        chosen = "refuse" if about.setting is None else str(getattr(self.rules, about.setting))
        return self._by_each_line(rule, chosen)

    def _by_each_line(self, rule: Rule, action: str) -> str:
        # A copy of a file is told by all of its lines, so that leaving it out is no better.
        whole = action == "refuse" or rule == "duplicate_files"
        return _APART.get(rule, action) if self.apart and whole else action

    def add(
        self,
        rule: Rule,
        file: str,
        column: str | None = None,
        *,
        lines: int = 0,
        revenue: float = 0.0,
        first: list[tuple[int, str]] | None = None,
        detail: str = "",
        action: str | None = None,
    ) -> Finding:
        """Count further lines of a rule; examples beyond `FIRST` are not kept.

        Args:
            rule: The rule.
            file: The file.
            column: The column's name in the file.
            lines: How many further lines.
            revenue: Sum of their values.
            first: The first of them and what is wrong there.
            detail: What is wrong, where no line says it.
            action: What becomes of them, where the rules alone do not say.
        """
        key = (rule, file, column)
        found = self._found.get(key)
        if found is None:
            done = self.action(rule) if action is None else self._by_each_line(rule, action)
            found = Finding(rule, self.member, file, column, done)
            self._found[key] = found
        found.lines += lines
        found.revenue += revenue
        found.first += (first or [])[: FIRST - len(found.first)]
        found.detail = found.detail or detail
        return found

    @property
    def all(self) -> tuple[Finding, ...]:
        """Everything found, in the order in which it was."""
        return tuple(self._found.values())

    def to_tree(self) -> dict[str, Any]:
        """Return everything found as JSON values."""
        found = [asdict(one) for one in self.all]
        return {"lines": self.lines, "revenue": self.revenue, "found": found}

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Take what an earlier reading of the same lines found."""
        self.lines, self.revenue = tree["lines"], tree["revenue"]
        for one in tree["found"]:
            first = [(row, text) for row, text in one["first"]]
            found = Finding(**{**one, "first": first})
            self._found[found.rule, found.file, found.column] = found

    def check(self) -> None:
        """Refuse what the rules do not allow.

        Raises:
            DataError: At the first of it; the text says how many more there are.
        """
        refuse(list(self.all))


def refuse(found: list[Finding]) -> None:
    """Raise the first refusal among findings, if there is one.

    Raises:
        DataError: There is one.
    """
    refused = [one for one in found if one.action == "refuse"]
    if not refused:
        return
    more = len(refused) - 1
    end = f" ({more} more faults; all of them: securefl data check)" if more else ""
    raise DataError(refused[0].line + end)
