"""The Complete Journey's displays and mailers by retailer, product and week instead of by store.

The source lists a product, store and week where there is a display or a mailer: 21 million rows,
880 MB once expanded. They are read in batches; of the weeks wanted, seven bytes a row are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from securefl.data.readers import column_names
from securefl.data.schema import Column, Origin, check_columns
from securefl.data.sources.complete_journey.tables import week_start
from securefl.errors import DataError

_NONE: Final = "0"
_COLUMNS: Final = (
    Column("product_id", "id"),
    Column("store_id", "id"),
    Column("week", "id"),
    Column("display_location", "text"),
    Column("mailer_location", "text"),
)
_BATCH_ROWS: Final = 1 << 18

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Listing:
    """Rows of the source, one entry each: int8 week, int32 cell and two flags.

    A cell is a store and a product: `store index * number of products + product index`.
    """

    week: npt.NDArray[np.int8]
    cell: npt.NDArray[np.int32]
    display: Bools
    mailer: Bools


@dataclass(frozen=True)
class _Grid:
    """The stores and products that count, both ascending."""

    stores: Ints
    products: Ints

    def listing(self, batch: pa.RecordBatch, weeks: tuple[int, int]) -> _Listing:
        week = batch.column("week").to_numpy()
        store = self._store(batch.column("store_id").to_numpy())
        product = _positions_of_runs(self.products, batch.column("product_id").to_numpy())
        kept = (week >= weeks[0]) & (week <= weeks[1]) & (store >= 0) & (product >= 0)
        return _Listing(
            week=week[kept].astype(np.int8),
            cell=(store[kept] * self.products.size + product[kept]).astype(np.int32),
            display=_is_used(batch.column("display_location"))[kept],
            mailer=_is_used(batch.column("mailer_location"))[kept],
        )

    def _store(self, ids: Ints) -> Ints:
        """As `_positions`, by a table: store numbers are small and come in no order."""
        places = np.full(int(self.stores[-1]) + 2, -1)
        places[self.stores] = np.arange(self.stores.size)
        found: Ints = places[ids.clip(-1, self.stores[-1] + 1)]
        return found

    def stores_with(self, cells: npt.NDArray[np.int32]) -> Bools:
        """Return Bool [stores, products]: whether the cell occurs, however often."""
        present = np.zeros(self.stores.size * self.products.size, dtype=bool)
        present[cells] = True
        return present.reshape(self.stores.size, self.products.size)


def read_promotions(
    file: Path,
    products: pd.DataFrame,
    stores: Mapping[int, int],
    names: Sequence[str],
    weeks: tuple[int, int],
) -> pd.DataFrame:
    """Return what every retailer promoted, by product and week.

    Args:
        file: The source's promotions.
        products: The catalogue; other products are left out.
        stores: Store id to retailer number; other stores are left out.
        names: The retailers' names by number.
        weeks: First and last week of the source's count.

    Returns:
        The columns of `RetailData.promotions` (`display` and `mailer`: in any store), with
        `display_share` and `mailer_share` (float32): the share of the retailer's stores that the
        source lists in that week.

    Raises:
        DataError: The file is damaged or does not hold the expected columns.
    """
    ids = np.sort(products["product"].to_numpy(dtype=np.int64))
    grid = _Grid(np.array(sorted(stores), dtype=np.int64), ids)
    retailer = np.array([stores[store] for store in grid.stores.tolist()], dtype=np.int64)
    parts = [grid.listing(batch, weeks) for batch in _batches(file)]
    if not parts:
        raise DataError(f"{file}: no promotions")
    listing = _merged(parts)
    order = np.argsort(listing.week, kind="stable")
    edges = np.searchsorted(listing.week[order], np.arange(weeks[0], weeks[1] + 2))
    frames = [
        _week(week, _taken(listing, order[first:last]), grid, retailer, names)
        for week, first, last in zip(
            range(weeks[0], weeks[1] + 1), edges[:-1], edges[1:], strict=True
        )
    ]
    return pd.concat(frames, ignore_index=True)


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    wanted = [column.name for column in _COLUMNS]
    present = column_names(file)
    for name in wanted:
        if name not in present:
            raise Origin(str(file)).missing(name, present)
    try:
        empty = pq.read_schema(file).empty_table().to_pandas()
        check_columns(empty, _COLUMNS, Origin(str(file)))
        source = pq.ParquetFile(file, read_dictionary=["display_location", "mailer_location"])
        yield from source.iter_batches(_BATCH_ROWS, columns=wanted, use_threads=False)
    except (pa.ArrowException, OSError) as problem:
        raise DataError(f"{file}: cannot be read: {' '.join(str(problem).split())}") from problem


def _positions(ascending: Ints, values: Ints) -> Ints:
    """Return index of each value in `ascending`, -1 where it is not there."""
    found = np.searchsorted(ascending, values).clip(max=ascending.size - 1)
    return np.where(ascending[found] == values, found, -1)


def _positions_of_runs(ascending: Ints, values: Ints) -> Ints:
    """As `_positions`, one search for a run of equal values: the source lists store by store."""
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] - 1))
    lengths = np.diff(starts, append=values.size)
    return np.repeat(_positions(ascending, values[starts]), lengths)


def _is_used(location: pa.DictionaryArray) -> Bools:
    words = location.dictionary.to_pylist()
    used = np.array([word != _NONE for word in words] + [False])
    codes: Ints = location.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
    flags: Bools = used[codes]
    return flags


def _merged(parts: Sequence[_Listing]) -> _Listing:
    return _Listing(
        week=np.concatenate([part.week for part in parts]),
        cell=np.concatenate([part.cell for part in parts]),
        display=np.concatenate([part.display for part in parts]),
        mailer=np.concatenate([part.mailer for part in parts]),
    )


def _taken(listing: _Listing, rows: Ints) -> _Listing:
    return _Listing(
        listing.week[rows], listing.cell[rows], listing.display[rows], listing.mailer[rows]
    )


def _week(
    week: int, listing: _Listing, grid: _Grid, retailer: Ints, names: Sequence[str]
) -> pd.DataFrame:
    display = grid.stores_with(listing.cell[listing.display])
    mailer = grid.stores_with(listing.cell[listing.mailer])
    reporting = np.flatnonzero(np.bincount(listing.cell // grid.products.size))
    frames = []
    for number, name in enumerate(names):
        own = reporting[retailer[reporting] == number]
        shares = (_share(display[own]), _share(mailer[own]))
        frames.append(_rows(name, week, grid.products, *shares))
    return pd.concat(frames, ignore_index=True)


def _share(present: Bools) -> npt.NDArray[np.float32]:
    """Return float32 [products]: the share of the stores, zeros where there is no store."""
    stores: npt.NDArray[np.float32] = present.sum(axis=0, dtype=np.uint16).astype(np.float32)
    return stores / np.float32(max(len(present), 1))


def _rows(
    name: str,
    week: int,
    products: Ints,
    display: npt.NDArray[np.float32],
    mailer: npt.NDArray[np.float32],
) -> pd.DataFrame:
    promoted = (display > 0) | (mailer > 0)
    return pd.DataFrame(
        {
            "member": pd.Series(name, index=range(int(promoted.sum())), dtype="str"),
            "product": products[promoted],
            "week": week_start(week).as_unit("ns"),
            "display": display[promoted] > 0,
            "mailer": mailer[promoted] > 0,
            "display_share": display[promoted],
            "mailer_share": mailer[promoted],
        }
    )
