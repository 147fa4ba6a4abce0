"""Churn: for whom it pays to join, by the size of a retailer and by its length of history.

Over all retailers joining is parity (docs/results/churn.md). Here one retailer has few customers to
train on, and the others have all of theirs; in some rows all have one month of cases in place of
five. It trains alone and together with the others, on the same customers, and both models predict
the same test cases: all of the retailer's, whether it trained on them or not. Standard errors are
over test cases, of paired differences, each case's mean over the draws of the few customers.

`python benchmarks/churn_by_size.py [--quick]`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn

from harness import Row, main
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.ml.metrics.classification import pairs_won
from securefl.ml.parameters import load_shared
from securefl.tasks.base import MemberData
from securefl.tasks.churn.examples import ChurnExamples
from securefl.tasks.churn.task import ChurnMember
from securefl.tasks.common.contribution_bounds import UserBatches
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_to_best
from tuning_recommendation import rounds_of

OWN: Final = (50, 100, 200)
DRAWS: Final = 3
STEPS: Final = 8
"""At least so many batches that a member alone cuts its customers into."""
CUTOFFS: Final = {"five months of cases": 5, "one month of cases": 1}


def benchmark(quick: bool) -> list[Row]:
    data = load(load_config(options={"task": "churn"}).data)
    found: list[Row] = []
    for said, cutoffs in list(CUTOFFS.items())[: 1 if quick else None]:
        found += rows_of(said, data, cutoffs, quick)
    return found


def rows_of(said: str, data: RetailData, cutoffs: int, quick: bool) -> Iterator[Row]:
    """A row for each number of own customers, over all retailers, and one a retailer for all."""
    config = load_config(options={"task": "churn", "churn": {"training_cutoffs": cutoffs}})
    prepared = prepare_data(config, data)
    places = range(1 if quick else len(prepared.members))
    for size in OWN[: 1 if quick else None]:
        started = time.process_time()
        few = [compared(prepared, place, size, 1 if quick else DRAWS) for place in places]
        row = measured(few) | {"cpu_s": round(time.process_time() - started, 1)}
        yield shown(f"{said}, {size} own customers", row)
    if quick:
        return
    every = whole(prepared)
    yield shown(f"{said}, all customers", measured(every))
    for member, one in zip(prepared.members, every, strict=True):
        yield shown(f"{said}, all {len(member.examples)} of {member.name}", measured([one]))


def shown(case: str, row: dict[str, float]) -> Row:
    print(f"{case}: {row}", file=sys.stderr, flush=True)
    return Row(case, row)


# -- one retailer ----------------------------------------------------------------------------------

Arms = tuple[Tensor, Tensor, ChurnExamples]
"""Log-odds alone and together, float64 [draws, N] each, of the retailer's test cases."""


def compared(prepared: Prepared, place: int, size: int, draws: int) -> Arms:
    """One retailer with `size` customers, in several draws, the others with all of theirs."""
    whole, alone, joined = prepared.members[place], [], []
    for draw in range(draws):
        member = with_few(whole, size, np.random.default_rng([size, draw, place]))
        members = [*prepared.members]
        members[place] = member
        seeded = prepared.config.model_copy(update={"seed": draw})
        alone.append(predicted(fitted_alone(prepared, seeded, member), member))
        joined.append(predicted(fitted(prepared, seeded, members)[place], member))
    return torch.stack(alone), torch.stack(joined), whole.cases[whole.name]["test"]


def whole(prepared: Prepared) -> list[Arms]:
    """All retailers with all of their customers, in as many seeds as there are draws."""
    seeds = [prepared.config.model_copy(update={"seed": seed}) for seed in range(DRAWS)]
    together = [fitted(prepared, config, prepared.members) for config in seeds]
    found = []
    for place, member in enumerate(prepared.members):
        alone = [predicted(fitted_alone(prepared, config, member), member) for config in seeds]
        joined = [predicted(models[place], member) for models in together]
        cases = member.cases[member.name]["test"]
        found.append((torch.stack(alone), torch.stack(joined), cases))
    return found


def with_few(member: ChurnMember, size: int, generator: np.random.Generator) -> ChurnMember:
    """The member with some of its customers in training and validation, and all in the test."""
    splits = member.cases[member.name]
    customers = np.unique(splits["train"].customers.numpy())
    chosen = torch.from_numpy(np.sort(generator.permutation(customers)[:size]))
    few = {
        split: splits[split].at(torch.isin(splits[split].customers, chosen).nonzero()[:, 0])
        for split in ("train", "validation")
    }
    columns = (few["train"].features, few["train"].gone)
    units = UserBatches.of(few["train"].customers, columns, member.examples.limit)
    cases = {member.name: {**splits, **few}}
    return replace(member, examples=units, samples=len(units), cases=cases)


def fitted(
    prepared: Prepared, config: RunConfig, members: Sequence[MemberData]
) -> Sequence[nn.Module]:
    """The members' models at the best round on validation."""
    problem = partial(LocalProblem, config, prepared.task, prepared.facts)
    parties = [problem(member) for member in members]
    start, rounds, patience = prepared.shared, config.rounds, config.patience
    return rounds_of(config, prepared.task, parties, start, rounds, patience=patience)[0]


def fitted_alone(prepared: Prepared, config: RunConfig, member: MemberData) -> nn.Module:
    """A member's own model: as many steps as one with all customers has, and the best round."""
    learner = LocalProblem(config, prepared.task, prepared.facts, member)
    model, settings = learner.fresh_model("alone"), config.references.alone
    load_shared(model, prepared.shared)
    # In batches of the usual size a few customers would be a step a round, which is no training.
    batch = min(settings.batch_size, max(len(member.examples) // STEPS, 1))
    sized = settings.model_copy(update={"batch_size": batch})
    train_to_best(learner, model, sized, config.rounds)
    return model


@torch.no_grad()
def predicted(model: nn.Module, member: ChurnMember) -> Tensor:
    """Log-odds of the test cases, float64 [N]."""
    return model.eval()(member.cases[member.name]["test"].features).double()


# -- the table -------------------------------------------------------------------------------------


def measured(every: Sequence[Arms]) -> dict[str, float]:
    """Log loss and AUC of both arms, and the loss that joining saves with its standard error."""
    losses = [[log_losses(logits, cases) for logits in pair] for *pair, cases in every]
    alone, joined = (torch.cat([one[arm] for one in losses]) for arm in (0, 1))
    gain = alone - joined
    return {
        "cases": len(gain),
        "alone": round(float(alone.mean()), 4),
        "federated": round(float(joined.mean()), 4),
        "saved": round(float(gain.mean()), 4),
        "saved se": round(float(gain.std()) / math.sqrt(len(gain)), 4),
        "alone auc": auc([(pair[0], pair[2]) for pair in every]),
        "federated auc": auc([(pair[1], pair[2]) for pair in every]),
    }


def log_losses(logits: Tensor, cases: ChurnExamples) -> Tensor:
    """Each case's mean over the draws, float64 [N]."""
    chance = torch.from_numpy(expit(logits.numpy())).clamp(1e-12, 1 - 1e-12)
    return -torch.where(cases.gone, chance.log(), (1 - chance).log()).mean(dim=0)


def auc(every: Sequence[tuple[Tensor, ChurnExamples]]) -> float:
    """Pairs won over pairs, all within one retailer and one draw."""
    won, pairs = 0.0, 0.0
    for logits, cases in every:
        truth = cases.gone.numpy()
        for one in logits.numpy():
            won += float(pairs_won(one, truth))
            pairs += float(truth.sum() * (~truth).sum())
    return round(won / pairs, 4)


if __name__ == "__main__":
    main(__doc__.splitlines()[0], benchmark)
