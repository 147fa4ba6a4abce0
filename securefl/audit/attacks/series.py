"""Canaries in noised series: purchase lines that move a cell which no other line moves.

Tasks that are trained on noised series release these and no gradient. A canary is a line far above
the bound in a cell of its own, that is taken up with probability 1/2. Bounding, noise, ledger and
training are those of every run.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from securefl.audit.attacks.canaries import PULL
from securefl.audit.attacks.ephemeral_ledger import EphemeralLedger
from securefl.audit.attacks.probe import Mask, Observed
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.data.sources.registry import load
from securefl.federation.member.updates.factory import round_training
from securefl.federation.member.updates.noisy_series import SERIES
from securefl.federation.runs.prepare import prepare_data
from securefl.ml.device import seed_draws
from securefl.ml.parameters import shared_vector
from securefl.ml.tensor_io import read_tensors
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.demand.noisy_series import NoisedMember

_DAYS = 200
_WEEK = 7


def series_member(config: RunConfig, canaries: int) -> LocalProblem:
    """Return a small member of the demand task with the run's privacy settings and rounds.

    The unit is a purchase line, and has at least as many cells as there are canaries.
    """
    products = max(6, -(-canaries // 100))
    options = {
        "task": "demand",
        "rounds": config.rounds,
        "seed": config.seed,
        "data": {"source": "tutorial", "table": "demand", "products": products, "days": _DAYS},
        "training": {"batch_size": 1024, "local_epochs": 1},
        "privacy": {
            **config.privacy.model_dump(include={"epsilon", "delta", "insecure_testing_seed"}),
            "dp": "local",
            "unit": "record",
        },
        "references": {"enabled": False},
        "engine": {"workers": 1},
    }
    small = load_config(None, options)
    prepared = prepare_data(small, load(small.data))
    return LocalProblem(small, prepared.task, prepared.facts, prepared.members[0])


def observe_series(learner: LocalProblem, included: Mask, directory: Path) -> Observed:
    """Release the series of all rounds with the included canaries.

    Args:
        learner: The member, of the demand task.
        included: Included canaries, bool [m].
        directory: Folder of the member's ledger; new and empty.

    Returns:
        What was released of each canary's cell over all rounds, less the sum of all other lines.
    """
    assert isinstance(learner.data, NoisedMember)
    perturbation = learner.task.input_perturbation
    assert perturbation is not None
    known = perturbation.bounded_series(learner.data).ravel()[: len(included)]
    audited = replace(learner, data=_with_canaries(learner.data, included, learner.config))
    seed_draws(learner.seed("audit", "start"))
    model = learner.task.model(learner.facts, learner.data.customers)
    ledger = EphemeralLedger(learner.data.name, learner.config, directory, audited.data.units)
    with closing(ledger.ledger) as charges:
        training = round_training(audited, model, directory, charges, members=1)
        for number in range(1, learner.config.rounds + 1):
            ledger.enter(number, shared_vector(model))
            training.train(number)
        spending = training.spending()
    released = read_tensors(directory / SERIES)[0]["total"].numpy().ravel()[: len(included)]
    return Observed(released - learner.config.rounds * known, spending)


def _with_canaries(member: NoisedMember, included: Mask, config: RunConfig) -> NoisedMember:
    lines, cells = member.contributions, np.flatnonzero(included)
    if len(included) > lines.shape[0] * lines.shape[1]:
        raise ValueError(f"{len(included)} canaries have no cells of their own")
    pull = np.full(len(cells), PULL * config.privacy.clip_norm)
    added = replace(
        lines,
        customer=np.concatenate([lines.customer, np.full(len(cells), -1)]),
        cell=np.concatenate([lines.cell, cells]),
        units=np.concatenate([lines.units, pull]),
    )
    return replace(member, contributions=added, privacy_units=member.privacy_units + len(cells))
