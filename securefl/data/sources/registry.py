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


def load(settings: DataSettings) -> RetailData:
    """Load and checks what the settings describe.

    Raises:
        InputError: A file or a package is missing.
        DataError: A table breaks the schema; the text names file, row and column.
    """
    data = _load(settings)
    check_data(data)
    return data


def _load(settings: DataSettings) -> RetailData:
    match settings:
        case CompleteJourneySettings():
            return complete_journey.load(settings)
        case TutorialSettings():
            return tutorial.load(settings)
        case FilesSettings():
            return files.load(settings)
