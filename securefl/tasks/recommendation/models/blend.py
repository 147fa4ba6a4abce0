"""A model whose parts are models: the shared ones cross the wire, one after another, as one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import nn


class BlendModel(nn.Module):
    """Models side by side; no parameter belongs to two of them.

    Args:
        parts: The parts by name.
        own: Names of those that stay at the retailer as a whole.
    """

    def __init__(self, parts: Mapping[str, nn.Module], own: Collection[str]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(dict(parts))
        local = {f"parts.{name}" for name in own}
        for name, part in parts.items():
            names: frozenset[str] = getattr(part, "local_parameters", frozenset())
            local |= {f"parts.{name}.{one}" for one in names}
        self.local_parameters = frozenset(local)
        """See `securefl.ml.parameters`; which ones stay follows from the configuration here."""
