"""In what words a mechanism and what it protects are named."""

from __future__ import annotations

from typing import Final, Literal

from securefl.config.privacy import PrivacySettings

_SHARES: Final = "discrete Gaussian noise shares in a masked sum"
_MECHANISMS: Final = {
    ("gradients", "local"): "sampled Gaussian (Poisson batches, clipped gradients, local noise)",
    ("gradients", "distributed"): (
        f"sampled Gaussian (Poisson batches, clipped gradients, {_SHARES})"
    ),
    ("series", "local"): "Gaussian (series in which each unit is bounded, local noise)",
}
_WHOLE: Final = f"Gaussian (whole updates, clipped, rotated and rounded, {_SHARES})"
UNBOUNDED: Final = "no bound below 20"
"""In the place of a customer's epsilon that is not known, or worth nothing."""


def mechanism_of(releases: Literal["gradients", "series"], settings: PrivacySettings) -> str:
    """What is done to what a task releases, as it is protected."""
    return _WHOLE if settings.unit == "member" else _MECHANISMS[releases, settings.dp]


def shown_customer_epsilon(epsilon: float | None) -> str:
    """A customer's epsilon as text; None says that no bound is known."""
    return UNBOUNDED if epsilon is None else f"{epsilon:.3f}"
