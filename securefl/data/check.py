"""Everything that is wrong with own files, or was left out of them, in one report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from jinja2 import Environment

from securefl.config.data import DataSettings, FilesSettings
from securefl.data.sources.files.findings import FIRST, RULES, Finding
from securefl.data.sources.files.progress import Reading
from securefl.data.sources.files.source import examine
from securefl.data.sources.registry import load
from securefl.errors import InputError


@dataclass
class Fault:
    """What one rule met in one column of a member's files, all of them together.

    Attributes:
        rule: The rule's name.
        title: What it is about, in a few words.
        member: The member; empty for what belongs to all.
        column: The column's name in the files; empty where no single one is meant.
        action: What becomes of the lines: `refuse`, `drop`, `keep`, `net`, `match` or `note`.
        correction: What would let the data be read; empty where nothing is refused.
        files: The files.
        lines: How many lines.
        revenue: Sum of their values.
        share_of_lines: Of the member's lines; 0 where they could not be counted.
        share_of_revenue: Of the member's revenue; None where it would be no share, since some
            values are negative: then it is below 0 or above 1.
        first: The first rows: file, row and what is wrong there; row 0 is the file as a whole.
    """

    rule: str
    title: str
    member: str
    column: str
    action: str
    correction: str
    files: list[str] = field(default_factory=list)
    lines: int = 0
    revenue: float = 0.0
    share_of_lines: float = 0.0
    share_of_revenue: float | None = None
    first: list[tuple[str, int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class DataReport:
    """The result of a check.

    Attributes:
        source: Name of the source.
        faults: What was found, refusals first.
        lines: Lines read of each member.
        revenue: Sum of their values.
        refused: Whether a run would refuse the data.
    """

    source: str
    faults: tuple[Fault, ...]
    lines: dict[str, int]
    revenue: dict[str, float]
    refused: bool


def check(settings: DataSettings, progress: Callable[[int], None] | None = None) -> DataReport:
    """Read the data once and report all that is found, instead of ending at the first fault.

    Args:
        settings: What to read.
        progress: Called with the number of lines, as they are read.
    """
    if not isinstance(settings, FilesSettings):
        members = load(settings).members
        lines = {member.name: len(member.transactions) for member in members}
        revenue = {member.name: float(member.transactions["value"].sum()) for member in members}
        return DataReport(settings.source, (), lines, revenue, refused=False)
    ended: list[Fault] = []

    def stop(error: InputError, member: str) -> None:
        fault = _fault(Finding("unreadable", member, "", None, "refuse"))
        fault.first.append(("", 0, str(error)))
        ended.append(fault)

    read = examine(settings, progress or Reading(settings), stop)
    faults = [*ended, *_gathered(read.findings)]
    for fault in faults:
        fault.share_of_lines = fault.lines / max(read.lines.get(fault.member, 0), 1)
        fault.share_of_revenue = _share(fault.revenue, read.revenue.get(fault.member, 0.0))
    faults.sort(key=lambda fault: (fault.action != "refuse", fault.action == "note"))
    refused = any(fault.action == "refuse" for fault in faults)
    return DataReport(settings.source, tuple(faults), read.lines, read.revenue, refused)


def _share(part: float, whole: float) -> float | None:
    if whole <= 0:
        return None if part else 0.0
    share = part / whole
    # Sums of the same values in another order differ in their last digits.
    return share if 0 <= share <= 1 + 1e-9 else None


def revenue_of(fault: Fault, revenue: float) -> str:
    """Return what the lines of a fault are worth, for a person.

    Args:
        fault: The fault.
        revenue: The revenue of its member.
    """
    if fault.share_of_revenue is not None:
        return f"{fault.revenue:,.2f}, {fault.share_of_revenue:.2%} of the revenue"
    return f"{fault.revenue:,.2f}, where all lines together come to {revenue:,.2f}"


def _fault(found: Finding) -> Fault:
    about = RULES[found.rule]
    return Fault(
        rule=found.rule,
        title=about.title,
        member=found.member,
        column=found.column or "",
        action=found.action,
        correction=found.correction,
    )


def _gathered(findings: tuple[Finding, ...]) -> list[Fault]:
    """Join what one rule found in several files of a member."""
    faults: dict[tuple[str, ...], Fault] = {}
    for found in findings:
        key = (found.rule, found.member, found.column or "", found.action)
        fault = faults.setdefault(key, _fault(found))
        fault.files.append(found.file)
        fault.lines += found.lines
        fault.revenue += found.revenue
        rows = [(found.file, row, problem) for row, problem in found.first]
        rows = rows or [(found.file, 0, found.detail)]
        fault.first += rows[: FIRST - len(fault.first)]
    return list(faults.values())


def as_tree(report: DataReport) -> dict[str, Any]:
    """Return a report as JSON values."""
    return {
        "source": report.source,
        "refused": report.refused,
        "members": [
            {"name": name, "lines": lines, "revenue": report.revenue[name]}
            for name, lines in report.lines.items()
        ],
        "findings": [
            {
                **{key: value for key, value in vars(fault).items() if key != "first"},
                "first": [
                    {"file": file, "row": row or None, "problem": problem}
                    for file, row, problem in fault.first
                ],
            }
            for fault in report.faults
        ],
    }


_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Check of data</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 1rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; vertical-align: top; padding: .4rem; border-bottom: 1px solid #ccc }
td.number { text-align: right; white-space: nowrap }
.refuse { color: #a00; font-weight: 600 }
code, .rows { font-family: ui-monospace, monospace; font-size: .85em; overflow-wrap: anywhere }
</style>
<h1>Check of data</h1>
<p>{% if report.refused %}<span class="refuse">A run would refuse these data.</span> Each
line in red says what would let them be read.{% else %}A run would read these data.{% endif %}</p>
<table>
<tr><th>Member<th>Lines<th>Revenue
{% for name, lines in report.lines.items() %}
<tr><td>{{ name }}<td class="number">{{ "{:,}".format(lines) }}
<td class="number">{{ "{:,.2f}".format(report.revenue[name]) }}
{% endfor %}
</table>
<table>
<tr><th>What<th>Member<th>Lines<th>Share<th>Revenue<th>Becomes<th>First rows, correction
{% for fault in report.faults %}
<tr><td>{{ fault.title }}{% if fault.column %}, column <code>{{ fault.column }}</code>{% endif %}
<td>{{ fault.member or "all" }}
<td class="number">{{ "{:,}".format(fault.lines) if fault.lines else "" }}
<td class="number">{{ "{:.2%}".format(fault.share_of_lines) if fault.lines else "" }}
<td>{{ revenue_of(fault, report.revenue.get(fault.member, 0.0)) if fault.lines else "" }}
<td class="{{ fault.action }}">{{ fault.action }}
<td><div class="rows">{% for file, row, problem in fault.first %}
{{ file }}{% if row %}, row {{ row }}{% endif %}{% if file %}: {% endif %}{{ problem }}<br>
{% endfor %}</div>{{ fault.correction }}
{% endfor %}
</table>
</html>
"""


def page(report: DataReport) -> str:
    """Return the page; whatever stands in a file is text and never markup."""
    return (
        Environment(autoescape=True).from_string(_PAGE).render(report=report, revenue_of=revenue_of)
    )
