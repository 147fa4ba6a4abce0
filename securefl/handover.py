"""What a retailer reads off a result: tables in its own folder, which never leave it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from securefl.tensor_files import write_atomically


def hand_over(directory: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write each table as `<name>.csv`, numbers to five digits.

    Raises:
        RunDirectoryError: If a file cannot be written.
    """
    for name, table in tables.items():
        text = table.to_csv(index=False, float_format="%.5g", lineterminator="\n")
        write_atomically(directory / f"{name}.csv", text.encode())
