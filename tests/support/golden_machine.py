"""How a machine computes with floating point: weights are compared between equal ones only."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator


def machine() -> dict[str, str]:
    """What decides on the last bits of a float: versions, and a few computations."""
    import numpy as np
    import scipy
    import torch

    return {
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "versions": f"torch {torch.__version__}, numpy {np.__version__}, scipy {scipy.__version__}",
        "numerics": hashlib.sha256(b"".join(_computed())).hexdigest(),
    }


def _computed() -> Iterator[bytes]:
    """Products, functions, and a training, small ones, of fixed numbers."""
    import numpy as np
    import torch
    from scipy import special

    grid = torch.linspace(-3, 3, 40 * 33, dtype=torch.float32).reshape(40, 33)
    yield (grid @ grid.T.contiguous()).numpy().tobytes()
    for function in (torch.exp, torch.sigmoid, torch.tanh, torch.log1p):
        yield function(grid.abs()).numpy().tobytes()
    yield np.exp(grid.double().numpy()).tobytes() + np.log(grid.double().abs().numpy()).tobytes()
    yield special.log_ndtr(grid.double().numpy()).tobytes()
    weight = torch.full((33, 1), 0.1, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.softplus(grid @ weight).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    yield weight.detach().numpy().tobytes()
