"""Where a member computes."""

from __future__ import annotations

from typing import Literal

import torch

from securefl.errors import InputError


def choose_device(wish: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device for a wish; `auto` takes a GPU where there is one.

    Raises:
        InputError: If a GPU is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if wish == "cuda" and not available:
        raise InputError("no CUDA device found; use --device cpu or --device auto")
    return torch.device("cuda" if wish != "cpu" and available else "cpu")


def seed_draws(seed: int) -> None:
    """Seed what is drawn without a generator of its own, on each device that members compute on.

    `torch.manual_seed` takes a stack trace for every other kind of accelerator: milliseconds for
    each round of each member.

    Args:
        seed: From 0 to 2**64 - 1.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
