"""What is said of single customers before anything leaves a retailer."""

from __future__ import annotations

from securefl.config.schema import RunConfig
from securefl_cli.rendering.screen import Screen


def say_disclosed(config: RunConfig) -> None:
    """Say on stderr what parties will see of single customers: nothing has left a retailer yet."""
    out = Screen(err=True)
    for warning in config.discloses:
        out.line(f"Warning: {warning}", "yellow")
