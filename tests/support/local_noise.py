"""Local noise as it must not be: none at all, or less than was accounted for."""

from fractions import Fraction

from securefl.privacy.noise import grid
from securefl.privacy.noise.direct_tables import DirectTables


class _Silence:
    def add_to(self, numbers, stream):
        pass


def silence(monkeypatch):
    """Leave the noise out of all releases."""
    monkeypatch.setattr(grid, "_sampler", lambda *_: _Silence())


def divide(monkeypatch, by):
    """Draw noise of a deviation that many times smaller."""
    monkeypatch.setattr(
        grid, "_sampler", lambda variance, _: DirectTables(Fraction(variance) / Fraction(by) ** 2)
    )
