import re

import pytest

from securefl_cli.rendering.screen import console
from securefl_cli.rendering.tables import plain_table

PRIVATE = (
    *("Retailer", "Alone", "Federated", "Released model", "Gain"),
    *("All data in one place", "Popularity", "Noised popularity"),
)
ROW = ("retailer-a", "0.411", "0.442", "0.342", "+7.5 %", "0.440", "0.334", "0.258")
TOTALS = (("All retailers", *ROW[1:]), ("± over 3 seeds", *ROW[1:]))


@pytest.mark.parametrize("columns", [80, 100])
def test_the_widest_closing_table_fits_a_terminal_uncut(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    console().table(plain_table(PRIVATE, [ROW], TOTALS))
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    assert max(map(len, lines)) <= columns
    assert "…" not in text
    for word in " ".join(PRIVATE).split():
        assert re.search(rf"\b{word}\b", text), word
    for row in (ROW, *TOTALS):
        assert any(re.split(r"\s{1,}", line.strip()) == " ".join(row).split() for line in lines)
