"""What an agreement alone says of the data, for facts that come from nobody's tables."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import numpy as np
import pandas as pd

from securefl.config.data import DataSettings, FilesSettings
from securefl.data.schema import UNKNOWN_PRODUCT
from securefl.data.sources.files.source import SOURCE, read_agreed
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import InputError

_DAY, _MOMENT = pd.Timedelta(days=1), pd.Timedelta(1, "ns")


def agreed_alone(settings: DataSettings) -> FilesSettings | None:
    """The settings, if what all agree on comes from catalogue and period, and from no table."""
    if isinstance(settings, FilesSettings) and settings.period is not None:
        return settings
    return None


def common_data(settings: DataSettings, tables: Callable[[], RetailData]) -> RetailData:
    """Return what all members read their facts off.

    Args:
        settings: What was agreed.
        tables: Reads everybody's tables; called only where no period was agreed.

    Raises:
        InputError: If a file is missing.
        DataError: If a table is wrong.
    """
    agreed = agreed_alone(settings)
    return tables() if agreed is None else agreed_data(agreed)


def agreed_data(settings: FilesSettings) -> RetailData:
    """Return tables that anybody can write down who knows catalogue and period.

    Each member sells every product of the catalogue once, to one customer, on the first day of the
    period, and again in its last moment. What a task reads off them, products, hierarchy and
    calendar, is what was agreed, and says nothing of anybody's sales.

    Raises:
        InputError: If no period was agreed, or a file is missing.
        DataError: If catalogue, promotions or prices are wrong.
    """
    if settings.period is None:
        raise InputError("data.period is missing: without it, facts come from all tables")
    first, last = (pd.Timestamp(day) for day in settings.period)
    agreed = read_agreed(settings)
    known = agreed.products["product"].to_numpy(dtype=np.int64)
    sold = known[known != UNKNOWN_PRODUCT]
    lines = pd.concat([_sold(sold, first), _sold(sold, last + _DAY - _MOMENT)], ignore_index=True)
    members = tuple(RetailerTables(member.name, lines) for member in settings.members)
    return RetailData(
        SOURCE, members, agreed.products, agreed.promotions, agreed.prices, made_up=True
    )


def agreed_digest(settings: FilesSettings, data: RetailData) -> bytes:
    """Return SHA-256 of period, catalogue, promotions and prices as they were read.

    Two catalogues of other labels can lead to the same facts, and mean other products by them.
    """
    agreed = (data.products, data.promotions, data.prices)
    frames = [frame for frame in agreed if frame is not None]
    tables = [str(settings.period), *(frame.to_csv() for frame in frames)]
    return sha256("\0".join(tables).encode()).digest()


def _sold(products: np.ndarray[tuple[int], np.dtype[np.int64]], time: pd.Timestamp) -> pd.DataFrame:
    columns = {"customer": 0, "product": products, "basket": 0, "time": time}
    return pd.DataFrame(columns | {"quantity": 1.0, "value": 1.0, "discount": 0.0})
