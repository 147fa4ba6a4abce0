"""In what words a mechanism and what it protects are named."""

from __future__ import annotations

from typing import Final, Literal

_MECHANISMS: Final = {
    ("gradients", "local"): "sampled Gaussian (Poisson batches, clipped gradients, local noise)",
    ("gradients", "distributed"): (
        "sampled Gaussian (Poisson batches, clipped gradients, discrete Gaussian noise shares in a"
        " masked sum)"
    ),
    ("series", "local"): "Gaussian (series in which each unit is bounded, local noise)",
}
UNBOUNDED: Final = "no bound below 20"
"""In the place of a customer's epsilon that is not known, or worth nothing."""


def mechanism_of(releases: Literal["gradients", "series"], protection: str) -> str:
    """What is done to what a task releases, under a kind of protection."""
    return _MECHANISMS[releases, protection]


def shown_customer_epsilon(epsilon: float | None) -> str:
    """A customer's epsilon as text; None says that no bound is known."""
    return UNBOUNDED if epsilon is None else f"{epsilon:.3f}"
