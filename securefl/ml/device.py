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
