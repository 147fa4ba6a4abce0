"""Plain and secure training compared: are the masked sums exact, and what do they cost?"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from securefl.config.schema import RunConfig
from securefl.errors import ConfigError
from securefl.federation import messages as m
from securefl.federation.aggregation.base import Aggregate, Aggregator
from securefl.federation.aggregation.fedavg import weighted_mean
from securefl.federation.aggregation.model_proofs import ModelProof
from securefl.federation.aggregation.secure import MaskedSum, SecureAggregator
from securefl.federation.aggregation.session_parameters import encode_update
from securefl.federation.coordinator.rounds import Federation
from securefl.federation.runs.directory import RunDirectory, make_empty
from securefl.federation.runs.progress import Progress, Silent
from securefl.federation.runs.result import Numbers, json_ready
from securefl.federation.runs.run import run
from securefl.federation.transport.base import Transport
from securefl.federation.transport.exchange import Exchange
from securefl.ml.vectors import FloatVector


@dataclass(frozen=True)
class Arm:
    """One of the two trainings.

    Attributes:
        metrics: The federation's metrics on the test cases.
        seconds: Wall time of the whole run.
        aggregation_seconds: Mean wall time a round of training and aggregating.
        bytes_up: Mean bytes that a member sent a round, evaluation included.
        bytes_down: Mean bytes that a member received a round, evaluation included.
    """

    metrics: Numbers
    seconds: float
    aggregation_seconds: float
    bytes_up: float
    bytes_down: float


@dataclass(frozen=True)
class Comparison:
    """The result of `securefl compare`.

    Attributes:
        task: Name of the task.
        seed: The seed of both trainings.
        rounds: Rounds of each.
        dimension: Coordinates of the shared model.
        bits: Bits of a masked coordinate.
        integer_sums_identical: Whether in every round the unmasked sum was bit by bit the sum of
            the same integers in the clear.
        max_abs_difference: Largest difference of a coordinate between the decoded mean and float
            FedAvg of the same updates, over all rounds.
        bound: The proven bound of that difference, over all rounds.
        dropouts: Round to the members that were not in its sum.
        plain: The baseline.
        secure: The masked training.
        run_dir: The folder of both runs.
    """

    task: str
    seed: int
    rounds: int
    dimension: int
    bits: int
    integer_sums_identical: bool
    max_abs_difference: float
    bound: float
    dropouts: dict[int, tuple[str, ...]]
    plain: Arm
    secure: Arm
    run_dir: str

    @property
    def bytes_to_plain(self) -> float:
        """The bytes of masked training, both ways, for one byte of plain training."""
        masked, plain = self.secure, self.plain
        return (masked.bytes_up + masked.bytes_down) / (plain.bytes_up + plain.bytes_down)

    @property
    def holds(self) -> bool:
        """Whether the sums are exact and the float results within the bound."""
        return self.integer_sums_identical and self.max_abs_difference <= self.bound

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        plain: dict[str, Any] = json_ready(asdict(self))
        return plain


@dataclass
class Stopwatch:
    """An observer that times the aggregation of a run and counts its bytes."""

    seconds: list[float] = field(default_factory=list)
    bytes_up: float = 0.0
    bytes_down: float = 0.0

    def observe(self, aggregator: Aggregator, transport: Transport) -> Aggregator:
        """See `RunObserver.observe`."""
        del transport
        return _Timed(self, aggregator)

    def rounds_ended(self, federation: Federation) -> None:
        """See `RunObserver.rounds_ended`."""
        shares = len(federation.members) * max(1, len(self.seconds))
        members = federation.members
        self.bytes_up = sum(federation.exchange.bytes_up[name] for name in members) / shares
        self.bytes_down = sum(federation.exchange.bytes_down[name] for name in members) / shares


@dataclass(frozen=True)
class _Timed:
    watch: Stopwatch
    inner: Aggregator

    def aggregate(
        self, exchange: Exchange, round_number: int, shared: FloatVector, cohort: tuple[str, ...]
    ) -> Aggregate:
        started = time.perf_counter()
        result = self.inner.aggregate(exchange, round_number, shared, cohort)
        self.watch.seconds.append(time.perf_counter() - started)
        return result

    def hand_over(self, proof: ModelProof, moments: bytes, known_to: Collection[str]) -> None:
        self.inner.hand_over(proof, moments, known_to)


@dataclass
class SumCheck(Stopwatch):
    """An observer that recomputes every masked sum from updates that the members disclose."""

    identical: bool = True
    largest_difference: float = 0.0
    bound: float = 0.0
    dimension: int = 0
    bits: int = 0
    dropouts: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def observe(self, aggregator: Aggregator, transport: Transport) -> Aggregator:
        """See `RunObserver.observe`.

        Raises:
            TypeError: If the sums of this aggregator are not masked.
        """
        if not isinstance(aggregator, SecureAggregator):
            raise TypeError("only masked sums can be checked against plain ones")
        return _Checked(self, aggregator, Exchange(transport))

    def check(
        self,
        result: MaskedSum,
        mean: Aggregate,
        updates: dict[str, m.Update],
        keys: Mapping[str, bytes],
    ) -> None:
        """Compare one round's masked sum with the same updates in the clear.

        Args:
            result: The sum.
            mean: What it was decoded to.
            updates: By survivor, its update.
            keys: By survivor, the key that it was rounded with at random; empty if to the nearest.
        """
        encoding = result.terms.encoding
        self.dimension, self.bits = result.terms.dimension, encoding.ring.value
        total = np.zeros_like(result.total)
        for name, update in updates.items():
            change, key = m.unpack_vector(update.change), keys.get(name)
            total += encode_update(encoding, change, update.loss, update.samples, key)
        self.identical &= bool(np.array_equal(total, result.total))
        plain = weighted_mean(updates, mean.change.shape[0])
        difference = float(np.abs(plain.change - mean.change).max())
        self.largest_difference = max(self.largest_difference, difference)
        self.bound = max(self.bound, encoding.error_bound(len(updates), mean.samples))


@dataclass(frozen=True)
class _Checked:
    check: SumCheck
    inner: SecureAggregator
    aside: Exchange
    """Requests the updates in the clear; its bytes do not count as traffic of the run."""

    def aggregate(
        self, exchange: Exchange, round_number: int, shared: FloatVector, cohort: tuple[str, ...]
    ) -> Aggregate:
        started = time.perf_counter()
        result = self.inner.masked_sum(exchange, round_number, shared, cohort)
        mean = self.inner.decoded(result)
        self.check.seconds.append(time.perf_counter() - started)
        missing = tuple(name for name in cohort if name not in result.survivors)
        if missing:
            self.check.dropouts[round_number] = missing
        reveal = m.DebugDisclose(round=round_number)
        updates = self.aside.ask_all(result.survivors, reveal, m.Update)
        self.check.check(result, mean, updates, self._keys(result, round_number))
        return mean

    def hand_over(self, proof: ModelProof, moments: bytes, known_to: Collection[str]) -> None:
        self.inner.hand_over(proof, moments, known_to)

    def _keys(self, result: MaskedSum, round_number: int) -> dict[str, bytes]:
        if not result.terms.encoding.at_random:
            return {}
        question = m.ObserveRounding(round=round_number)
        answers = self.aside.ask_all(result.survivors, question, m.Rounding)
        return {name: answer.key for name, answer in answers.items()}


def compare(config: RunConfig, path: Path, progress: Progress | None = None) -> Comparison:
    """Train plain and secure from the same seed, in `path/plain` and `path/secure`.

    Raises:
        SecureflError: A user-facing error, as one line.
    """
    if config.secure.norm is not None:
        # Its members would scale updates down in one arm, and that is no difference of masks.
        raise ConfigError("secure.norm: the plain arm of a comparison has no norms; leave it out")
    watch = progress or Silent()
    make_empty(path)
    quiet = config.references.model_copy(update={"enabled": False})
    watch.stage("Training in the clear")
    plain = Stopwatch()
    # Both arms train the same rounds, so that there are as many sums to compare.
    shared = config.model_copy(update={"references": quiet, "patience": None})
    baseline = _train(shared.model_copy(update={"mode": "plain"}), path, watch, plain)
    watch.stage("Training with masked updates")
    check = SumCheck()
    secure = _train(shared.model_copy(update={"mode": "secure"}), path, watch, check)
    return Comparison(
        task=config.task,
        seed=config.seed,
        rounds=config.rounds,
        dimension=check.dimension,
        bits=check.bits,
        integer_sums_identical=check.identical,
        max_abs_difference=check.largest_difference,
        bound=check.bound,
        dropouts=check.dropouts,
        plain=baseline,
        secure=secure,
        run_dir=str(path),
    )


def _train(config: RunConfig, path: Path, watch: Progress, stopwatch: Stopwatch) -> Arm:
    result = run(RunDirectory.create(path / config.mode, config), watch, stopwatch)
    return Arm(
        metrics=result.metrics["federated"],
        seconds=result.seconds,
        aggregation_seconds=fmean(stopwatch.seconds),
        bytes_up=stopwatch.bytes_up,
        bytes_down=stopwatch.bytes_down,
    )
