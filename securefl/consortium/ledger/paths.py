"""Paths of the members' ledgers and policies in a run on one machine, stored for resumption."""

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
    """Paths outside of the run directory, which outlive the run.

    Attributes:
        books: Folder of the members' privacy ledgers.
        policy: A policy for all members, or a folder with one `<member>.toml` each; None for none.
    """

    books: Path
    policy: Path | None = None

    @classmethod
    def usual(cls, books: Path | None = None, policy: Path | None = None) -> Self:
        """Return the given paths, with the default folder where no ledger folder is given.

        Raises:
            InputError: If there is no default folder for ledgers.
        """
        found = default_books() if books is None else books.absolute()
        return cls(found, None if policy is None else policy.absolute())

    def check(self) -> None:
        """Validate the policies before a run begins.

        Raises:
            ConfigError: If there is no policy, or one does not validate.
        """
        if self.policy is None:
            return
        files = sorted(self.policy.glob("*.toml")) if self.policy.is_dir() else [self.policy]
        if not files:
            raise ConfigError(f"{self.policy} holds no policy (<member>.toml)")
        for file in files:
            load_policy(file)

    def write(self, folder: Path) -> None:
        """Store the paths in a run directory, so that the run resumes with the same ledgers.

        Raises:
            RunDirectoryError: If the file cannot be written.
        """
        named = {"books": self.books, "policy": self.policy}
        tree = {name: str(path) for name, path in named.items() if path is not None}
        write_atomically(folder / FILE, tomli_w.dumps(tree).encode())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the paths that a run began with.

        Raises:
            RunDirectoryError: If the file is missing or damaged.
        """
        try:
            tree = read_toml(folder / FILE)
            policy = tree.get("policy")
            return cls(Path(tree["books"]), None if policy is None else Path(policy))
        except (ConfigError, KeyError, TypeError) as error:
            raise RunDirectoryError(f"{folder / FILE} is missing or damaged: {error}") from None
