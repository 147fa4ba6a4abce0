"""Attribute inference from embedding rows: which products a retailer sold, by protection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import chisquare

from securefl.audit.attacks.roc import Estimate, area, epsilon_at_least
from securefl.audit.attacks.toy_federation import Bought, bought, federation, row_norms
from securefl.audit.attacks.wire import one_round
from securefl.federation.runs.prepare import Prepared
from securefl.ml.device import seed_draws
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
    """Success of inferring sold products from the row norms of one update.

    Attributes:
        sold: Area under the ROC curve of row norms, for products sold against all others.
        named: Correct products among the largest norms, taking as many as were sold.
        products: Number of products that were sold.
        chance: Expected value of `named` under random guessing.
    """

    sold: Estimate
    named: int
    products: int
    chance: float


@dataclass(frozen=True)
class MaskedLeak(RowLeak):
    """The same for a masked update, which must be indistinguishable from uniform noise.

    Attributes:
        uniform: p-value of the chi-square test of its bytes against the uniform distribution.
    """

    uniform: float


@dataclass(frozen=True)
class PrivateLeak(RowLeak):
    """The same for a noised update.

    Attributes:
        rare: Area under the ROC curve for products with one rating against products with none.
        epsilon: Resulting lower bound of epsilon, with one rating as privacy unit.
        claim: Epsilon charged for the update.
    """

    rare: Estimate
    epsilon: float
    claim: float


def plain_rows(seed: int, path: Path, confidence: float) -> RowLeak:
    """Attack an unprotected update."""
    prepared = federation("plain", seed)
    update = one_round(prepared, path).updates[prepared.members[0].name]
    return RowLeak(*_leak(row_norms(prepared, update), bought(prepared), confidence))


def masked_rows(
    seed: int, path: Path, confidence: float, certainty: float
) -> tuple[MaskedLeak, RowLeak]:
    """Attack a masked update, and the sum over all members that the coordinator obtains.

    Args:
        seed: Seed of the federation.
        path: A new directory.
        confidence: Confidence level of the interval for the sum.
        certainty: Confidence level of the interval for the masked update, which is to contain 0.5.
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
    """Attack a noised update of the same network, with one rating as privacy unit."""
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
    auc = area(norms[truth.sold], norms[~truth.sold], confidence)
    return auc, named, products, products**2 / len(norms)


def _private_update(prepared: Prepared, budget: Budget, seed: int) -> tuple[Norms, float]:
    """Return the change of the shared model, float64 [d], and the epsilon charged for it."""
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
    seed_draws(derive_seed(seed, "audit", "rows", "train"))
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
