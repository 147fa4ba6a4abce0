"""The configuration of a query: data, cohort and budget, as for a run."""

from __future__ import annotations

from pathlib import Path

from securefl.config.load import Tree, load_config, merge
from securefl.config.schema import RunConfig


def analytics_config(
    path: Path | None = None,
    *,
    data: str | None = None,
    epsilon: float,
    delta: float | None = None,
    colluding: int | None = None,
) -> RunConfig:
    """Return the agreed configuration of a query.

    Args:
        path: A configuration file, for its data, cohort and privacy.
        data: Name of a source, instead of the file's.
        epsilon: Budget of each customer.
        delta: Its delta; the file's or the usual one if not given.
        colluding: Number of members that may collude; likewise.

    Raises:
        ConfigError: If it does not validate.
    """
    privacy: Tree = {"dp": "distributed", "epsilon": epsilon, "unit": "customer", "steps": 1}
    if delta is not None:
        privacy["delta"] = delta
    if colluding is not None:
        privacy["distributed"] = {"colluding": colluding}
    asked: Tree = {"mode": "secure", "privacy": privacy}
    return load_config(path, merge(asked, {"data": {"source": data}} if data else {}))
