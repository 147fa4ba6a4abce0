"""MovieLens-100K, read out of the `recbole` wheel, cut leave-one-out over five members.

Harper and Konstan (2015). Its terms forbid to pass it on, so that it is fetched when it is needed,
read out of the archive and not kept.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from securefl.config.load import dump_toml, load_config, merge
from securefl.data.tables import RetailData, RetailerTables
from securefl.federation.runs.prepare import Prepared, prepare_data

MEMBERS = 5
_SPLIT = 174
_SAME_LENGTH = 500_000
_FOLDER = "recbole/dataset_example/ml-100k/ml-100k"


@dataclass(frozen=True)
class MovieLens:
    """Ratings in the file's order (`customer`, `product`, `class`, `time`), and the movies."""

    ratings: pd.DataFrame
    movies: pd.DataFrame

    def members(self) -> tuple[RetailerTables, ...]:
        """The users, shuffled by a generator seeded with a constant and dealt to the members.

        Every rating is a basket of its own. The first of a user's ratings in the file is the newest
        of those with its time stamp, therefore it has the largest number.
        """
        users = np.unique(self.ratings["customer"])
        seat = np.random.default_rng(_SPLIT).permutation(len(users)) % MEMBERS
        owner = seat[np.searchsorted(users, self.ratings["customer"])]
        lines = self.ratings.assign(
            basket=np.arange(len(self.ratings), 0, -1), quantity=1.0, value=0.0, discount=0.0
        )
        return tuple(RetailerTables(f"member-{n}", lines[owner == n]) for n in range(MEMBERS))

    def retail(self) -> RetailData:
        """The members beside each other, as a source delivers them."""
        return RetailData("movielens", self.members(), self.movies)


def read(wheel: Path | None) -> MovieLens:
    """The data out of a wheel, which is fetched into a temporary folder where none is given."""
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(wheel or _fetched(Path(folder))) as archive,
    ):
        return MovieLens(_ratings(_table(archive, "inter")), _movies(_table(archive, "item")))


def prepared(data: MovieLens, tree: dict) -> Prepared:
    """The members cut leave-one-out."""
    return prepare_data(load_config(None, tree), data.retail())


def written(data: MovieLens, tree: dict, folder: Path) -> Path:
    """Files of the members and the movies, with a configuration to run them by; its path."""
    folder.mkdir(parents=True)
    tables = data.retail()
    tables.products.to_csv(folder / "movies.csv", index=False)
    for member in tables.members:
        lines = member.transactions.assign(value=1.0)
        lines["basket"] += _SAME_LENGTH  # labels are in order as text too
        columns = ["customer", "product", "time", "quantity", "value", "basket"]
        lines[columns].to_csv(folder / f"{member.name}.csv", index=False)
    names = [{"name": one.name, "transactions": f"{one.name}.csv"} for one in tables.members]
    files = {
        "source": "files",
        "root": str(folder.resolve()),
        "catalogue": "movies.csv",
        "catalogue_columns": {name: name for name in ("department", "category", "kind")},
        "columns": {"basket": "basket"},
        "members": names,
    }
    path = folder / "securefl.toml"
    path.write_text(dump_toml(load_config(None, merge(tree, {"data": files}))), encoding="utf-8")
    return path


def _fetched(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(folder)]
    subprocess.run([*command, "recbole==1.2.1"], check=True)
    return next(folder.glob("recbole-*.whl"))


def _table(archive: zipfile.ZipFile, kind: str) -> pd.DataFrame:
    with archive.open(f"{_FOLDER}.{kind}") as file:
        table = pd.read_csv(file, sep="\t")
    return table.rename(columns=lambda name: name.split(":")[0])


def _ratings(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer": table["user_id"].to_numpy(np.int64),
            "product": table["item_id"].to_numpy(np.int64),
            "rating": table["rating"].to_numpy(np.int64) - 1,
            "time": pd.to_datetime(table["timestamp"], unit="s").astype("datetime64[ns]"),
        }
    )


def _movies(table: pd.DataFrame) -> pd.DataFrame:
    """First genre, all genres, and half decades, in place of the levels of a hierarchy."""
    genres = table["class"].fillna("").astype(str)
    years = pd.to_numeric(table["release_year"], errors="coerce").fillna(0).astype(int) // 5
    return pd.DataFrame(
        {
            "product": table["item_id"].to_numpy(np.int64),
            "department": genres.str.split(" ").str[0],
            "category": genres,
            "kind": years.astype(str),
            "brand": "",
            "size": "",
        }
    ).drop_duplicates("product")
