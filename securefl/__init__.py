"""Federated learning for retailers that compete."""

from securefl._version import __version__

__all__ = ["__version__"]
