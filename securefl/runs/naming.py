"""Where a run goes when nobody says where."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from securefl.config.schema import RunConfig


def default_path(config: RunConfig, kind: str, now: datetime | None = None) -> Path:
    """`runs/<task>-<kind>-seed<seed>-<UTC time>`, below the working directory."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return Path("runs") / f"{config.task}-{kind}-seed{config.seed}-{moment:%Y%m%dT%H%M%SZ}"
