"""Builders and readers of the entries for the start of a run, its releases and its rounds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from securefl._version import __version__
from securefl.config.cohort import least_survivors
from securefl.config.privacy import PrivacySettings
from securefl.config.schema import RunConfig
from securefl.consortium.agreement.model import Agreement
from securefl.consortium.ledger.composition import compose, joined, recorded
from securefl.consortium.ledger.digests import code_digest, config_digest, units_commitment
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.events import (
    Cap,
    Outcome,
    Release,
    ScoreRelease,
    Start,
    UnseenOutcome,
)
from securefl.consortium.ledger.hash_chain import timestamp
from securefl.consortium.ledger.policy import Policy, policy_digest
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger
from securefl.consortium.ledger.privacy_ledger_rows import DataSet, RunRow
from securefl.privacy.accounting.events import PrivacyEvent
from securefl.privacy.mechanisms import mechanism_for


def opening_row(
    run: str, config: RunConfig, data_set: DataSet, units: int, directory: Path
) -> RunRow:
    """Return the row of a new run in the member's privacy ledger."""
    settings = config.privacy
    private = mechanism_for(settings).private
    return RunRow(
        run=run,
        data_set=data_set.number,
        task=config.task,
        mode=config.mode,
        dp=settings.dp,
        unit=settings.unit if private else None,
        delta=settings.delta if private else None,
        accountant=settings.accountant if private else None,
        started=timestamp(),
        directory=str(directory.absolute()),
        units=units,
        salt=os.urandom(32),
    )


@dataclass(frozen=True)
class Before:
    """What was released from a data set before a run.

    Attributes:
        spent: Mechanisms charged to the run's privacy unit; equal ones are merged.
        others: Mechanisms charged to other privacy units; equal ones are merged.
        unprotected: Number of releases without noise.
    """

    spent: list[Mechanism]
    others: list[Mechanism]
    unprotected: int


def released_before(ledger: PrivacyLedger, data_set: int, unit: str | None) -> Before:
    """Return what was released from a data set so far, for a run with a privacy unit."""
    charged = ledger.charged(data_set)
    return Before(
        [one for one in charged if one.unit == unit],
        [one for one in charged if one.unit != unit],
        ledger.unprotected(data_set),
    )


def opening_event(
    row: RunRow,
    agreement: Agreement,
    policy: Policy | None,
    data_set: DataSet,
    before: Before,
    *,
    start_model: str | None,
) -> Start:
    """Return the first entry of a run.

    Args:
        row: The run's row in the privacy ledger.
        agreement: The consortium agreement.
        policy: The member's policy.
        data_set: The data set.
        before: What was released from it before.
        start_model: Digest of the agreed start, hex; None where nothing is trained.
    """
    epsilon = None
    if row.delta is not None and row.accountant is not None:
        epsilon = compose(before.spent, row.delta, row.accountant)
    return Start(
        config=config_digest(agreement),
        code=code_digest(),
        code_version=__version__,
        policy=None if policy is None else policy_digest(policy),
        data_set=data_set.pseudonym,
        unit=row.unit,
        delta=row.delta,
        accountant=row.accountant,
        cap=cap_of(policy, agreement.config),
        units=units_commitment(row.units, row.salt),
        epsilon_before=epsilon,
        history=joined(before.spent),
        unprotected_before=before.unprotected,
        other_units=joined(before.others),
        start_model=start_model,
    )


def cap_of(policy: Policy | None, config: RunConfig) -> Cap | None:
    """Return a policy's lifetime cap for a run's privacy unit; None without policy or privacy."""
    if policy is None or not mechanism_for(config.privacy).private:
        return None
    cap = policy.cap[config.privacy.unit]
    return Cap(epsilon=cap.epsilon, delta=cap.delta)


@dataclass(frozen=True)
class RequestedRound:
    """The round that a member was last asked to train.

    Attributes:
        number: Number of the round.
        cohort: Members of the cohort, in roster order.
        model: Digest of the shared model that training starts from, hex.
        charged: Whether its release is recorded and charged.
    """

    number: int
    cohort: tuple[str, ...]
    model: str
    charged: bool = False


def recorded_mechanism(
    settings: PrivacySettings, event: PrivacyEvent, clip_norm: float, rng: str
) -> Mechanism:
    """Return the ledger record of a mechanism, with sampler and randomness as implemented."""
    common = {
        "unit": settings.unit,
        "adjacency": mechanism_for(settings).adjacency,
        "noise_multiplier": event.noise_multiplier,
        "clip_norm": clip_norm,
        "sampling_rate": event.sampling_rate,
        "steps": event.steps,
        "sampler": event.sampler,
        "rng": rng,
        "accountant": settings.accountant,
    }
    return recorded(event, common)


def release_event(
    config: RunConfig,
    asked: RequestedRound,
    mechanism: Mechanism | None = None,
    *,
    before: float | None = None,
    after: float | None = None,
    repeat_of: int | None = None,
) -> Release:
    """Return the entry of a release.

    Args:
        config: The run's configuration.
        asked: The round.
        mechanism: The charged mechanism; None for no charge.
        before: Epsilon over the life of the data before it, at the run's delta.
        after: Epsilon over the life of the data with it, at the run's delta.
        repeat_of: Sequence number of the first release of the same update.
    """
    least = _least(config, asked)
    return Release(
        round=asked.number,
        mode=config.mode,
        dp=config.privacy.dp,
        model_before=asked.model,
        threshold=least if config.mode == "secure" else None,
        cohort=asked.cohort,
        mechanism=mechanism,
        delta=None if mechanism is None else config.privacy.delta,
        epsilon_before=before,
        epsilon_after=after,
        repeat_of=repeat_of,
    )


def score_release_event(
    config: RunConfig,
    asked: RequestedRound,
    scores: bytes,
    mechanism: Mechanism,
    *,
    before: float,
    after: float,
) -> ScoreRelease:
    """Return the entry of a release of scores.

    Args:
        config: The run's configuration.
        asked: The sum: its number, its members, and the model that is scored.
        scores: Digest of the bounds of all scores in the sum, 32 bytes.
        mechanism: The charged mechanism.
        before: Epsilon over the life of the data before it, at the run's delta.
        after: Epsilon over the life of the data with it, at the run's delta.
    """
    return ScoreRelease(
        round=asked.number,
        model=asked.model,
        scores=scores.hex(),
        threshold=_least(config, asked),
        cohort=asked.cohort,
        mechanism=mechanism,
        delta=config.privacy.delta,
        epsilon_before=before,
        epsilon_after=after,
    )


def _least(config: RunConfig, asked: RequestedRound) -> int:
    return least_survivors(config.cohort, len(asked.cohort))


def round_end(ledger: PrivacyLedger, run: str, number: int) -> Outcome | UnseenOutcome | None:
    """Return a member's entry on how a round ended; None where there is none.

    Args:
        ledger: The member's privacy ledger.
        run: Run id, hex.
        number: Number of the round.
    """
    for kind in ("outcome", "unseen-outcome"):
        entry = ledger.entry_of(run, kind, number)
        if entry is not None and isinstance(entry.event, Outcome | UnseenOutcome):
            return entry.event
    return None
