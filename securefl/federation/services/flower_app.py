"""The ServerApp: the coordinator, with a grid of Flower in the place of the broker."""

from __future__ import annotations

import logging
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from pydantic import PositiveFloat

from securefl.config.base import Settings
from securefl.consortium.encoding.parsing import parsed
from securefl.consortium.keys.key_files import needs_passphrase, read_key, read_passphrase
from securefl.errors import InputError
from securefl.federation.runs.result import RunResult
from securefl.federation.services.bootstrap import connection_context
from securefl.federation.services.coordinator import Carrier, coordinate
from securefl.federation.services.logging import (
    LOG_FILES,
    LOG_MEBIBYTES,
    log_to,
    log_to_file,
)
from securefl.federation.transport.flower.grid_link import GridLink, GridTransport
from securefl.federation.transport.timeouts import TimeoutPolicy
from securefl.untrusted.documents import read_toml
from securefl_protocols.primitives.signing import SigningKey

_log = logging.getLogger(__name__)
CONFIG = "securefl-config"
"""Key of Flower's run configuration: the path of the coordinator's own file."""


class CoordinatorFile(Settings):
    """The coordinator's own file, on its own machine; paths in it are relative to its folder.

    Attributes:
        agreement: The agreement.
        key: The coordinator's key.
        passphrase_file: The file with the key's passphrase, if it has one.
        facts: The agreed facts.
        run: This run's name.
        out: The run's directory.
        log: Its log; standard error if not given.
        step_deadline: Seconds for an answer that needs no training.
        training_deadline: Seconds for an answer that does.
        stragglers: Least seconds for the other members once enough have answered.
    """

    agreement: Path
    key: Path
    passphrase_file: Path | None = None
    facts: Path
    run: str = "1"
    out: Path
    log: Path | None = None
    step_deadline: PositiveFloat = 300.0
    training_deadline: PositiveFloat = 3600.0
    stragglers: PositiveFloat = 300.0

    def unlocked(self, folder: Path) -> SigningKey:
        """Return the key.

        Raises:
            KeyFileError: If it cannot be used.
        """
        path = folder / self.key
        if not needs_passphrase(path):
            return read_key(path)
        if self.passphrase_file is None:
            raise InputError(f"{path} has a passphrase: name its file with passphrase_file")
        return read_key(path, read_passphrase(folder / self.passphrase_file))

    @property
    def timeouts(self) -> TimeoutPolicy:
        """How long members are waited for: a node is slow to look for messages, and not away."""
        return TimeoutPolicy(
            step=self.step_deadline,
            training=self.training_deadline,
            silence=self.step_deadline,
            least=self.stragglers,
        )


def coordinate_over(grid: Grid, file: Path) -> RunResult:
    """Run what was agreed over a grid, from the point where this coordinator ended last.

    Args:
        grid: The grid.
        file: A `CoordinatorFile`.

    Raises:
        SecureflError: A user-facing error, as one line.
    """
    own, folder = parsed(CoordinatorFile, read_toml(file), str(file)), file.parent
    if own.log is None:
        log_to()
    else:
        log_to_file(folder / own.log, LOG_MEBIBYTES << 20, LOG_FILES)
    key = own.unlocked(folder)
    context = connection_context(
        folder / own.agreement, key, folder / own.facts, own.run, broker=False
    )
    carrier = Carrier(lambda faults: GridLink(grid, faults), GridTransport)
    return coordinate(context, folder / own.out, own.timeouts, carrier=carrier)


def main(grid: Grid, context: Context) -> None:
    """Run the ServerApp."""
    result = coordinate_over(grid, Path(str(context.run_config[CONFIG])))
    _log.info("%d rounds, the best was %d", result.rounds, result.best_round)


app = ServerApp()
app.main()(main)
