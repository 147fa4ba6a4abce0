"""Names as an attacker writes them, and what a command may print where it meets them."""

import dataclasses
import json
import unicodedata

HOSTILE = "x\x1b[2K\x1b[1A[bold red]\u202egnp\r\nVerdict  PASS\n\x9b31m[/]<b>&$\\frac$\u200b"
"""Cursor movements, markup of rich and of HTML, a bidirectional override, a fake verdict on a line
of its own, an 8-bit escape, a formula, a zero-width blank."""
LONG = HOSTILE + "y" * 100_000
INVISIBLE = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}


def unseen(text):
    """Characters that no reader sees, or that move what they see."""
    return {c for c in text if c != "\n" and unicodedata.category(c) in INVISIBLE}


def check_harmless(text, *, named=False):
    """Nothing of a hostile name acts: no escape, no line of its own, no lost bracket."""
    assert not unseen(text), sorted(map(hex, map(ord, unseen(text))))
    assert not any(line.strip().startswith("Verdict  PASS") for line in text.split("\n"))
    if named:
        joined = "".join(text.split())
        assert "[boldred]" in joined
        assert r"\x1b[2K" in joined


def check_data(text):
    """One line of ASCII JSON."""
    assert text.count("\n") == 1
    assert text.isascii()
    assert not unseen(text)
    return json.loads(text)


def laced(value, keep=()):
    """The same value with every string in it replaced by a hostile one, save fields in `keep`."""
    if isinstance(value, str):
        return HOSTILE
    if dataclasses.is_dataclass(value):
        fields = {
            field.name: laced(getattr(value, field.name), keep)
            for field in dataclasses.fields(value)
            if field.name not in keep
        }
        return dataclasses.replace(value, **fields)
    if isinstance(value, tuple | list):
        return type(value)(laced(item, keep) for item in value)
    return value
