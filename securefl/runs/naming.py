"""Where a run goes when nobody says where."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from securefl.config.schema import RunConfig


def default_path(config: RunConfig, now: datetime | None = None) -> Path:
    """`runs/<task>-<mode>-seed<seed>-<UTC time>`, below the working directory."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return Path("runs") / f"{config.task}-{config.mode}-seed{config.seed}-{moment:%Y%m%dT%H%M%SZ}"
