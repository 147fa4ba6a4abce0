"""What is new since the model that a run went on from; read with results, and without any model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StartChange:
    """What is new since the model that a run started from.

    Attributes:
        model: Digest that the members agreed on.
        products: Number of products of this run.
        new: Those that the earlier model does not know.
        removed: Those of the earlier model that this run does not have.
        kept: Whether the rows of removed ones are taken along.
    """

    model: str
    products: int
    new: int
    removed: int
    kept: bool
