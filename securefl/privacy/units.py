"""In what words a mechanism and what it protects are named."""

from __future__ import annotations

from typing import Final, Literal

from securefl.config.privacy import PrivacySettings

_LAWS: Final = {"discrete-gaussian": "discrete Gaussian", "skellam": "Skellam"}
UNBOUNDED: Final = "no bound below 20"
"""In the place of a customer's epsilon that is not known, or worth nothing."""


def mechanism_of(releases: Literal["gradients", "series"], settings: PrivacySettings) -> str:
    """What is done to what a task releases, as it is protected."""
    if settings.dp == "local":
        if releases == "series":
            return "Gaussian (series in which each unit is bounded, local noise)"
        return "sampled Gaussian (Poisson batches, clipped gradients, local noise)"
    law = settings.distributed.law
    name = "Skellam" if law == "skellam" else "Gaussian"
    shares = f"{_LAWS[law]} noise shares in a masked sum"
    if settings.unit == "member":
        return f"{name} (whole updates, clipped, rotated and rounded, {shares})"
    return f"sampled {name} (Poisson batches, clipped gradients, {shares})"


def shown_customer_epsilon(epsilon: float | None) -> str:
    """A customer's epsilon as text; None says that no bound is known."""
    return UNBOUNDED if epsilon is None else f"{epsilon:.3f}"
