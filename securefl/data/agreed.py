"""What an agreement alone says of the data, for facts that come from nobody's tables."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pandas as pd

from securefl.data.files import SOURCE, read_agreed
from securefl.data.schema import UNKNOWN_PRODUCT
from securefl.data.settings import FilesSettings
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import InputError

_DAY, _MOMENT = pd.Timedelta(days=1), pd.Timedelta(1, "ns")


def agreed_data(settings: FilesSettings) -> RetailData:
    """Tables that anybody can write down who knows catalogue and period.

    Each member sells every product of the catalogue once, to one customer, on the first day of the
    period, and again in its last moment. What a task reads off them, products, hierarchy and
    calendar, is what was agreed, and says nothing of anybody's sales.

    Raises:
        InputError: If no period was agreed, or a file is missing.
        DataError: If catalogue or promotions are wrong.
    """
    if settings.period is None:
        raise InputError("data.period is missing: without it, facts come from all tables")
    first, last = (pd.Timestamp(day) for day in settings.period)
    products, promotions = read_agreed(settings)
    known = products["product"].to_numpy(dtype=np.int64)
    sold = known[known != UNKNOWN_PRODUCT]
    lines = pd.concat([_sold(sold, first), _sold(sold, last + _DAY - _MOMENT)], ignore_index=True)
    members = tuple(RetailerTables(member.name, lines) for member in settings.members)
    return RetailData(SOURCE, members, products, promotions)


def agreed_digest(settings: FilesSettings) -> bytes:
    """SHA-256 of period, catalogue and promotions as they were read.

    Two catalogues of other labels can lead to the same facts, and mean other products by them.

    Raises:
        InputError: If a file is missing.
        DataError: If one is wrong.
    """
    products, promotions = read_agreed(settings)
    tables = [str(settings.period), *(f.to_csv() for f in (products, promotions) if f is not None)]
    return sha256("\0".join(tables).encode()).digest()


def _sold(products: np.ndarray[tuple[int], np.dtype[np.int64]], time: pd.Timestamp) -> pd.DataFrame:
    columns = {"customer": 0, "product": products, "basket": 0, "time": time}
    return pd.DataFrame(columns | {"quantity": 1.0, "value": 1.0, "discount": 0.0})
