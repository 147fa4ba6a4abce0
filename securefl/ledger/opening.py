"""How a member's entries of a run begin: what its data have paid for before, and its policy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from securefl._version import __version__
from securefl.config.schema import RunConfig
from securefl.consortium.agreement import Agreement
from securefl.ledger.chain import timestamp
from securefl.ledger.digests import code_digest, config_digest, units_commitment
from securefl.ledger.events import Cap, Mechanism, Start
from securefl.ledger.pricing import compose, joined
from securefl.ledger.rows import DataSet, RunRow
from securefl.policy import Policy, policy_digest
from securefl.privacy.mechanisms import mechanism_for


def opening_row(
    run: str, config: RunConfig, data_set: DataSet, units: int, directory: Path
) -> RunRow:
    """The run as the member's book notes it."""
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


def opening_event(
    row: RunRow,
    agreement: Agreement,
    policy: Policy | None,
    data_set: DataSet,
    *,
    spent: Sequence[Mechanism],
    unprotected: int,
) -> Start:
    """The first entry of a run.

    Args:
        row: The run as the book notes it.
        agreement: What was agreed.
        policy: The member's policy.
        data_set: The data set.
        spent: What the run's unit has paid for before.
        unprotected: How many updates left the data set without noise before.
    """
    before = None
    if row.delta is not None and row.accountant is not None:
        before = compose(spent, row.delta, row.accountant)
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
        epsilon_before=before,
        history=joined(spent),
        unprotected_before=unprotected,
    )


def cap_of(policy: Policy | None, config: RunConfig) -> Cap | None:
    """What a policy allows a run's unit over the life of the data."""
    if policy is None or not mechanism_for(config.privacy).private:
        return None
    cap = policy.cap[config.privacy.unit]
    return Cap(epsilon=cap.epsilon, delta=cap.delta)
