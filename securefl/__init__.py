"""Federated learning for competing retailers.

Re-exports the names of `securefl.api`. Each is imported on first use, so that `import securefl`
does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from securefl._version import __version__

if TYPE_CHECKING:
    from securefl.api import (
        Evaluation,
        Model,
        RepeatResult,
        RunConfig,
        RunResult,
        configure,
        evaluate,
        load,
        open_model,
        repeat,
        resume,
        run,
    )

__all__ = [
    "Evaluation",
    "Model",
    "RepeatResult",
    "RunConfig",
    "RunResult",
    "__version__",
    "configure",
    "evaluate",
    "load",
    "open_model",
    "repeat",
    "resume",
    "run",
]


def __getattr__(name: str) -> object:
    """Return a name of `securefl.api`, imported on first use (PEP 562)."""
    if name in __all__:
        return getattr(import_module("securefl.api"), name)
    raise AttributeError(f"module 'securefl' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
