"""A report on data as one HTML page, which loads nothing from anywhere."""

from __future__ import annotations

from typing import Final

from jinja2 import Environment

from securefl.data.check import DataReport

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
<tr><th>What<th>Member<th>Lines<th>Share<th>Of revenue<th>Becomes<th>First rows, correction
{% for fault in report.faults %}
<tr><td>{{ fault.title }}{% if fault.column %}, column <code>{{ fault.column }}</code>{% endif %}
<td>{{ fault.member or "all" }}
<td class="number">{{ "{:,}".format(fault.lines) if fault.lines else "" }}
<td class="number">{{ "{:.2%}".format(fault.share_of_lines) if fault.lines else "" }}
<td class="number">{{ "{:.2%}".format(fault.share_of_revenue) if fault.lines else "" }}
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
    return Environment(autoescape=True).from_string(_PAGE).render(report=report)
