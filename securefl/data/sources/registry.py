"""One door to all sources."""

from __future__ import annotations

from securefl.config.data import (
    CompleteJourneySettings,
    DataSettings,
    FilesSettings,
    TutorialSettings,
)
from securefl.data.schema import check_data
from securefl.data.sources.complete_journey import source as complete_journey
from securefl.data.sources.files import source as files
from securefl.data.sources.synthetic import source as tutorial
from securefl.data.tables import RetailData


def load(settings: DataSettings, *, apart: bool = False) -> RetailData:
    """Load and checks what the settings describe.

    Args:
        settings: What to read.
        apart: Whether no line of retailers' own files may decide about others, as under a privacy
            budget: a line that a rule refuses is left out by itself, and a retailer of which
            nothing is left is not refused.

    Raises:
        InputError: A file or a package is missing.
        DataError: A table breaks the schema; the text names file, row and column.
    """
    data = _load(settings, apart)
    check_data(data, may_be_empty=apart)
    return data


def _load(settings: DataSettings, apart: bool) -> RetailData:
    match settings:
        case CompleteJourneySettings():
            return complete_journey.load(settings)
        case TutorialSettings():
            return tutorial.load(settings)
        case FilesSettings():
            return files.load(settings, apart=apart)
