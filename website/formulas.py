"""Formulas as MathML, made when the site is built: no script and no font comes from elsewhere."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

_FOUND = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<body>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def as_mathml(page: str) -> str:
    """Replace what `pymdownx.arithmatex` marked by MathML, which browsers draw by themselves."""
    return _FOUND.sub(_drawn, page)


def _drawn(found: re.Match[str]) -> str:
    latex = html.unescape(found["body"]).strip()
    block = found["tag"] == "div"
    drawn = convert(latex, display="block" if block else "inline")
    return f'<div class="formula">{drawn}</div>' if block else drawn
