"""Where the members' books and policies lie in a run on one machine; kept for when it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import tomli_w

from securefl.config.load import read_toml
from securefl.consortium.ledger.data_custody import default_books
from securefl.consortium.ledger.policy import load_policy
from securefl.errors import ConfigError, RunDirectoryError
from securefl.ml.tensor_io import write_atomically

FILE = "places.toml"


@dataclass(frozen=True)
class LedgerPaths:
    """What is the members' own.

    Attributes:
        books: Folder of their books.
        policy: A policy for all of them, or a folder with one `<member>.toml` each; None for none.
    """

    books: Path
    policy: Path | None = None

    @classmethod
    def usual(cls, books: Path | None = None, policy: Path | None = None) -> Self:
        """The places that were named, and the usual one for the books where none was.

        Raises:
            InputError: If this user has no home for books.
        """
        found = default_books() if books is None else books.absolute()
        return cls(found, None if policy is None else policy.absolute())

    def check(self) -> None:
        """Look at the policies before a run is begun.

        Raises:
            ConfigError: If there is none, or one does not validate.
        """
        if self.policy is None:
            return
        files = sorted(self.policy.glob("*.toml")) if self.policy.is_dir() else [self.policy]
        if not files:
            raise ConfigError(f"{self.policy} holds no policy (<member>.toml)")
        for file in files:
            load_policy(file)

    def write(self, folder: Path) -> None:
        """Keep the places with a run.

        Raises:
            RunDirectoryError: If the file cannot be written.
        """
        named = {"books": self.books, "policy": self.policy}
        tree = {name: str(path) for name, path in named.items() if path is not None}
        write_atomically(folder / FILE, tomli_w.dumps(tree).encode())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The places that a run was begun with.

        Raises:
            RunDirectoryError: If the file is missing or damaged.
        """
        try:
            tree = read_toml(folder / FILE)
            policy = tree.get("policy")
            return cls(Path(tree["books"]), None if policy is None else Path(policy))
        except (ConfigError, KeyError, TypeError) as error:
            raise RunDirectoryError(f"{folder / FILE} is missing or damaged: {error}") from None
