"""What a retailer finds in its own folder after a run: its model and its figures; none is sent."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from securefl.config.schema import RunConfig
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.agreement.model import agreement_fingerprint
from securefl.federation.member.model_signatures import write_signatures
from securefl.federation.member.scoring import EARLIER, MemberScoring, Tallies
from securefl.ml.metrics.sums import total
from securefl.ml.tensor_io import read_tensors, write_atomically, write_tensors
from securefl.ml.vectors import FloatVector, model_digest
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.statement import Account, protection, run_privacy
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_local_only
from securefl.tasks.served.folder import FOLDER
from securefl.tasks.served.retired import Retired
from securefl.tasks.served.starting import carrier_of, starting_model
from securefl.tasks.served.vocabulary import Vocabulary
from securefl.tasks.served.writing import (
    RELEASED,
    Provenance,
    TakenAlong,
    write_member_model,
    write_released_model,
)

_log = logging.getLogger(__name__)

FIGURES = "figures.json"
RESULT = "result.safetensors"
_LOCAL = "local/"


@dataclass(frozen=True)
class OwnFigures:
    """A retailer's figures on its own test cases.

    Attributes:
        path: The file with all of them.
        metrics: Arm (`federated`, `alone`, `naive`, ...) to metric to number.
    """

    path: Path
    metrics: dict[str, dict[str, float]]


def keep_to_itself(write: Callable[[], None], config: RunConfig) -> None:
    """Write what only the member reads; under a budget a failure of it changes no answer.

    Whether predictions can be written depends on customers: on whether there are any, and on what
    they bought. An answer that fails for it would be a release that nobody charged.

    Args:
        write: Writes into the member's own folder.
        config: The run's configuration.

    Raises:
        Exception: Without a budget, whatever `write` raises.
    """
    try:
        write()
    except Exception:
        if not mechanism_for(config.privacy).private:
            raise
        _log.exception("what this member serves could not be written; the run goes on")


def keep_result(directory: Path, shared: FloatVector, local: dict[str, Tensor]) -> None:
    """Write the run's result as this member serves it: shared model [d] and its local parameters.

    Figures are computed after the member was released, when a restart finds nothing else.

    Raises:
        RunDirectoryError: If it cannot be written.
    """
    tensors = {f"{_LOCAL}{name}": tensor for name, tensor in local.items()}
    write_tensors(directory / RESULT, tensors | {"shared": torch.from_numpy(shared)}, {})


def kept_result(directory: Path) -> tuple[FloatVector, dict[str, Tensor]] | None:
    """Return what `keep_result` has written; None where no result was delivered.

    Raises:
        RunDirectoryError: If the file is damaged.
    """
    if not (directory / RESULT).exists():
        return None
    tensors, _ = read_tensors(directory / RESULT)
    shared: FloatVector = tensors.pop("shared").numpy()
    return shared, {name.removeprefix(_LOCAL): tensor for name, tensor in tensors.items()}


@dataclass(frozen=True)
class CarriedModel:
    """The model that a member holds after a run.

    Attributes:
        learner: Its learning problem.
        vocabulary: The agreed products under their labels.
        consortium: The parties and their agreement.
    """

    learner: LocalProblem
    vocabulary: Vocabulary
    consortium: Consortium

    def write(
        self,
        directory: Path,
        shared: FloatVector,
        local: Mapping[str, Tensor],
        account: Account | None,
        moments: Mapping[str, Tensor],
    ) -> None:
        """Write it into the member's folder.

        Args:
            directory: The member's folder.
            shared: The run's result, float32 [d].
            local: The member's local parameters beside it.
            account: What was spent of a budget.
            moments: The state of its optimizer, for the next run.

        Raises:
            RunDirectoryError: If it cannot be written.
        """
        write_member_model(
            directory / FOLDER,
            self.learner,
            shared,
            local,
            vocabulary=self.vocabulary,
            provenance=self._provenance(account),
            along=TakenAlong(self._removed(), moments),
        )

    def give_away(
        self,
        directory: Path,
        shared: FloatVector,
        account: Account | None,
        entries: Iterable[bytes],
    ) -> None:
        """Write the shared part alone into the member's folder, with its own signature.

        A coordinator of a network has no catalogue, and so no labels of products.

        Args:
            directory: The member's folder.
            shared: The run's result, float32 [d].
            account: What was spent of a budget.
            entries: The member's signed entries of the run.

        Raises:
            RunDirectoryError: If it cannot be written.
        """
        learner, folder = self.learner, directory / RELEASED
        write_released_model(
            folder,
            learner.config,
            learner.facts,
            shared,
            vocabulary=self.vocabulary,
            provenance=self._provenance(account),
            along=TakenAlong(self._removed()),
        )
        write_signatures(folder, entries, model_digest(shared))

    def _provenance(self, account: Account | None) -> Provenance:
        config, name = self.learner.config, self.learner.data.name
        privacy = None if account is None else run_privacy(config, {name: account})
        return Provenance(
            members=self.consortium.roster.names,
            agreement=agreement_fingerprint(self.consortium.signed.agreement),
            run=self.consortium.run_id,
            protection=protection(privacy, config.mode),
        )

    def _removed(self) -> Retired:
        """Return the rows of products that this run no longer has."""
        learner = self.learner
        carrier = carrier_of(learner.config, learner.task, learner.facts, self.vocabulary)
        return Retired() if carrier is None else carrier.keeps()


def write_figures(
    directory: Path,
    learner: LocalProblem,
    scoring: MemberScoring,
    shared: FloatVector,
    *,
    vocabulary: Vocabulary,
    local_only: bool,
) -> OwnFigures:
    """Score the run's result and the baselines on the member's own test cases, and write them.

    Args:
        directory: The member's folder.
        learner: Its learning problem.
        scoring: Its scores; the kept local parameters are those of the result.
        shared: The result, float32 [d].
        vocabulary: The agreed products under their labels.
        local_only: Whether to train without the federation, for comparison.

    Raises:
        RunDirectoryError: If the file cannot be written.
    """
    arms: dict[str, Tallies] = {"federated": scoring.score(shared, "test", "kept")}
    start = starting_model(learner.config, learner.task, learner.facts, vocabulary)
    if learner.config.goes_on:
        arms[EARLIER] = scoring.score(start, "test", "start")
    if local_only:
        settings = learner.config.references.alone
        problem = learner.by_itself()
        trained = train_local_only(problem, settings, learner.config.rounds, start)
        arms["alone"] = trained.tallies
    if mechanism_for(learner.config.privacy).private:
        arms["released"] = scoring.score(shared, "test", "none")
    arms["naive"] = scoring.baseline("test")
    metrics = {arm: total(tallies.values()).values() for arm, tallies in arms.items()}
    path = directory / FIGURES
    plain = {
        arm: {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        for arm, numbers in metrics.items()
    }
    write_atomically(path, (json.dumps(plain, indent=1) + "\n").encode())
    return OwnFigures(path, metrics)
