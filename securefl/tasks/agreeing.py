"""What all members of a run agree on: from all tables, or from the agreement alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from securefl.config.schema import RunConfig
from securefl.data.agreed import agreed_data
from securefl.data.settings import FilesSettings
from securefl.data.tables import RetailData
from securefl.tasks.registry import create_task


def agreed_facts(config: RunConfig, tables: Callable[[], RetailData]) -> Any:  # noqa: ANN401 - a task's
    """The task's facts.

    Args:
        config: What was agreed.
        tables: Reads everybody's tables; called only where no period was agreed.

    Raises:
        InputError: If a file is missing.
        DataError: If a table is wrong, or too little is in it.
    """
    settings = config.data
    if isinstance(settings, FilesSettings) and settings.period is not None:
        return create_task(config).agree(agreed_data(settings))
    return create_task(config).agree(tables())
