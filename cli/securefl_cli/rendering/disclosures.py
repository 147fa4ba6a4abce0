"""What is said of single customers before anything leaves a retailer, where no noise was agreed."""

from __future__ import annotations

from securefl.config.schema import RunConfig
from securefl_cli.rendering.screen import Screen, labelled


def say_disclosed(config: RunConfig) -> None:
    """Say on stderr what parties will see: stdout may be data."""
    out = Screen(err=True)
    for warning in config.discloses:
        out.line(f"Warning: {warning}", "yellow")


def print_disclosed(out: Screen, config: RunConfig) -> None:
    """Print what parties will see, as a row among those of an agreement."""
    for warning in config.discloses:
        labelled(out, "Warning", warning)
