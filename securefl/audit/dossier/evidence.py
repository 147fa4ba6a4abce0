"""What a dossier is written from: the signed log of a run, its audit, and an attack's report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from securefl.audit.bundle.bundle import Bundle
from securefl.audit.bundle.case import Log
from securefl.audit.bundle.inputs import pinned_agreement
from securefl.audit.explain import Explanation, explain
from securefl.audit.export import bundle_of
from securefl.audit.life import LifeLoss, life_loss
from securefl.audit.report.proof import Proof, proof_of
from securefl.config.cohort import cohort_size, least_survivors
from securefl.config.schema import RunConfig
from securefl.config.task_registry import declaration
from securefl.config.task_spec import Disclosure, TaskSpec
from securefl.consortium.agreement.model import Agreement
from securefl.errors import InputError, RunDirectoryError
from securefl.federation.member.answers import Protection
from securefl.federation.runs.directory import RunDirectory
from securefl.privacy.accounting.spent import UNBOUNDED
from securefl.privacy.mechanisms import PrivacyMechanism, mechanism_for
from securefl.untrusted.documents import read_json
from securefl.untrusted.files import SMALL

ATTACK = "attack.json"
"""Where the report of `securefl audit attack` is looked for in a run's directory."""

Basis = Literal["signed", "by design", "unsigned", "to be stated"]
"""What an answer rests on: entries that members signed under the agreement; how the program is
built, of which entries hold a digest; a file that no member signed; or nothing in the run, so that
the parties have to state it."""


@dataclass(frozen=True)
class Answer:
    """One question of a reader with its answer.

    Attributes:
        question: The question.
        answer: The answer.
        basis: What it rests on.
    """

    question: str
    answer: str
    basis: Basis = "signed"


class AttackLine(BaseModel):
    """One attack of a report, as far as the dossier repeats it."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    name: str
    gain: str
    lower_bound: float | None
    claim: float | None
    verdict: str


class AttackFile(BaseModel):
    """The report of `securefl audit attack --format json`, as far as the dossier repeats it."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    verdict: Literal["pass", "fail"]
    unit: str
    epsilon: float
    delta: float
    canaries: int
    rounds: int
    confidence: float
    attacks: tuple[AttackLine, ...]


@dataclass(frozen=True)
class Evidence:
    """A run as a dossier sees it; every property follows from the bundle alone.

    Attributes:
        run: The run's directory.
        bundle: Its signed log.
        proof: The audit of it.
        attack: The report of an attack; None where none was made.
    """

    run: Path
    bundle: Bundle
    proof: Proof
    attack: AttackFile | None

    @property
    def story(self) -> Explanation:
        """Return what the signed entries say, in figures."""
        return self.proof.story or explain(self.bundle)

    @property
    def agreement(self) -> Agreement:
        """Return the agreement that members signed."""
        return self.bundle.agreement.agreement

    @property
    def config(self) -> RunConfig:
        """Return the agreed configuration."""
        return self.agreement.config

    @property
    def spec(self) -> TaskSpec:
        """Return the specification of the task."""
        return declaration(self.config.task)

    @property
    def disclosure(self) -> Disclosure | None:
        """Return what the task says that it tells competitors."""
        return self.spec.disclosure

    @property
    def mechanism(self) -> PrivacyMechanism:
        """Return the agreed privacy mechanism."""
        return mechanism_for(self.config.privacy)

    @property
    def protection(self) -> Protection:
        """Return how what a member sends is protected."""
        return Protection.of(self.config)

    @cached_property
    def log(self) -> Log:
        """Return the log with its events by kind."""
        return Log(self.bundle)

    @cached_property
    def loss(self) -> LifeLoss | None:
        """Return the composed privacy loss; None without differential privacy."""
        return life_loss(self.log, self.config.privacy) if self.mechanism.private else None

    @property
    def several(self) -> bool:
        """Return whether members can have a privacy unit in common: a customer, and no record."""
        return self.config.privacy.unit == "customer" and len(self.log.participants) > 1

    @property
    def most_over_life(self) -> float | None:
        """Return epsilon over the life of the data for the unit that lost most; None: no bound."""
        if self.loss is None:
            return None
        return self.loss.everywhere_life if self.several else self.loss.life

    @property
    def unprotected_before(self) -> int:
        """Return how many earlier releases of the data had no noise."""
        return sum(start.unprotected_before for _, start in self.log.starts.values())

    @property
    def least_agreed(self) -> int:
        """Return the fewest members that the agreement allows in a sum."""
        cohort = self.config.cohort
        return least_survivors(cohort, cohort_size(cohort, len(self.agreement.members)))


def gather(run: Path, attack: Path | None = None, agreement: Path | None = None) -> Evidence:
    """Return the evidence of a run.

    Args:
        run: The run's directory.
        attack: A report of `securefl audit attack`; `attack.json` in the directory, where there is
            one, if not given.
        agreement: The agreement as a member gave it to the reader, which establishes whose the keys
            are.

    Raises:
        RunDirectoryError: If the directory holds no finished run with a ledger.
        InputError: If the attack's report or the agreement is none.
    """
    directory = RunDirectory.open(run)
    if directory.result() is None:
        raise RunDirectoryError(f"{run} has not ended; go on with: securefl run --resume {run}")
    bundle = bundle_of(run)
    path = attack or (run / ATTACK if (run / ATTACK).exists() else None)
    report = None if path is None else read_attack(path)
    pinned = None if agreement is None else pinned_agreement(agreement)
    return Evidence(run, bundle, proof_of(bundle, str(run), run, agreement=pinned), report)


def read_attack(path: Path) -> AttackFile:
    """Read the report of `securefl audit attack --format json`.

    Raises:
        InputError: If it is none.
    """
    try:
        return AttackFile.model_validate(read_json(path, SMALL), strict=False)
    except ValidationError:
        raise InputError(f"{path} is no report of securefl audit attack --format json") from None


def figure(epsilon: float | None) -> str:
    """Return an epsilon in words; None has no bound."""
    return UNBOUNDED if epsilon is None else f"{epsilon:.3f}"
