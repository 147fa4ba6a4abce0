"""Which products a retailer sold, read from rows of the product table under each protection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import chisquare

from securefl.audit.attacks.roc import Estimate, area, epsilon_at_least
from securefl.audit.attacks.toy_federation import Bought, bought, federation, row_norms
from securefl.audit.attacks.wire import one_round
from securefl.federation.runs.prepare import Prepared
from securefl.ml.parameters import load_shared, shared_vector
from securefl.ml.seeds import derive_seed
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.accounting.calibration import Budget, noise_multiplier
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.privacy.dpsgd.trainer import PrivateSettings, PrivateTrainer
from securefl.privacy.noise.csprng import AesCtrRng

_STEPS = 10
_BATCH = 256.0
Norms = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RowLeak:
    """What the rows of one retailer's update tell.

    Attributes:
        sold: How well the rows' norms tell products that were sold from all others (area under the
            ROC curve).
        named: Products among the largest norms, as many as were sold, that were sold indeed.
        products: Products that were sold.
        chance: How many of them blind guesses would name.
    """

    sold: Estimate
    named: int
    products: int
    chance: float


@dataclass(frozen=True)
class MaskedLeak(RowLeak):
    """The same from a masked update, which has to look like noise.

    Attributes:
        uniform: Probability that uniform bytes look at least as uneven as the masked ones (the
            chi-square test over the 256 values).
    """

    uniform: float


@dataclass(frozen=True)
class PrivateLeak(RowLeak):
    """The same from a noised update.

    Attributes:
        rare: How well the norms tell products with one single rating from products with none.
        epsilon: Lower bound of epsilon that follows, a rating being the unit.
        claim: Epsilon that was spent on the update.
    """

    rare: Estimate
    epsilon: float
    claim: float


def plain_rows(seed: int, path: Path, confidence: float) -> RowLeak:
    """An update in the clear."""
    prepared = federation("plain", seed)
    update = one_round(prepared, path).updates[prepared.members[0].name]
    return RowLeak(*_leak(row_norms(prepared, update), bought(prepared), confidence))


def masked_rows(
    seed: int, path: Path, confidence: float, certainty: float
) -> tuple[MaskedLeak, RowLeak]:
    """A masked update by itself, and what the coordinator gets: the sum over all members.

    Args:
        seed: Of the federation.
        path: A new directory.
        confidence: Of the interval for the sum.
        certainty: Of the interval for the masked update, which has to hold chance.
    """
    prepared = federation("secure", seed)
    seen, truth = one_round(prepared, path), bought(prepared)
    name = prepared.members[0].name
    norms = row_norms(prepared, seen.updates[name])
    values = np.bincount(np.frombuffer(seen.words[name], np.uint8), minlength=256)
    masked = MaskedLeak(*_leak(norms, truth, certainty), float(chisquare(values).pvalue))
    total = RowLeak(*_leak(row_norms(prepared, seen.mean), truth, confidence))
    return masked, total


def private_rows(seed: int, budget: Budget, confidence: float) -> PrivateLeak:
    """A noised update of the same network, a rating being the unit."""
    prepared = federation("plain", seed)
    truth = bought(prepared)
    update, spent = _private_update(prepared, budget, seed)
    norms = row_norms(prepared, update)
    rare, absent = norms[truth.rare], norms[~truth.sold]
    halves = derive_seed(seed, "audit", "rows")
    return PrivateLeak(
        *_leak(norms, truth, confidence),
        rare=area(rare, absent, confidence),
        epsilon=epsilon_at_least(rare, absent, budget.delta, confidence, halves),
        claim=spent,
    )


def _leak(norms: Norms, truth: Bought, confidence: float) -> tuple[Estimate, int, int, float]:
    products = int(truth.sold.sum())
    largest = np.argsort(norms, kind="stable")[len(norms) - products :]
    named = int(truth.sold[largest].sum())
    told = area(norms[truth.sold], norms[~truth.sold], confidence)
    return told, named, products, products**2 / len(norms)


def _private_update(prepared: Prepared, budget: Budget, seed: int) -> tuple[Norms, float]:
    """The change of the shared model, float64 [d], and the epsilon that was charged for it."""
    data = prepared.members[0]
    model = prepared.task.model(prepared.facts, 0)
    load_shared(model, prepared.shared)
    accountant = PrivacyAccountant()
    settings = PrivateSettings(
        sampling=SamplingPlan(1.0, _STEPS, _BATCH),
        clip_norm=1.0,
        noise_multiplier=noise_multiplier(budget, sampling_rate=1.0, steps=_STEPS),
        optimizer="sgd",
        learning_rate=1.0,
    )
    torch.manual_seed(derive_seed(seed, "audit", "rows", "train"))
    trainer = PrivateTrainer(
        model,
        data.examples,
        prepared.task.loss,
        settings,
        stream=AesCtrRng(),
        accountant=accountant,
    )
    trainer.train_round()
    trainer.close()
    change = shared_vector(model).astype(np.float64) - prepared.shared
    return change, accountant.epsilon(budget.delta)
