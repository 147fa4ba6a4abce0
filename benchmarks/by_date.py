"""The blend where training ends at one date for all: each arm, with default and own weights.

With `held_out_days = 28` no purchase of anyone that is younger than a case's window is trained on
(docs/results/recommendation.md, "By date"). The three arms train as packaged, federated by FedAvg
in the clear. Weights are chosen on validation alone: drawn to the packaged defaults, which know the
other cut, or each retailer's own; a part is left out by choosing those of the others anew. Means
over seeds, standard errors over the test cases, of each case's mean over the seeds.

`python benchmarks/by_date.py [--quick]`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from harness import Row, main
from newcomer import joined, with_error
from securefl.config.load import load_config
from securefl.config.schema import TrainingSettings
from securefl.data.sources.registry import load
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.ml.metrics.ranking import METRICS, gains
from securefl.ml.metrics.score_blending import DefaultWeights, chosen_weights
from securefl.ml.parameters import load_shared
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_to_best
from securefl.tasks.common.ranking_examples import Cases
from securefl.tasks.recommendation.blend import BlendMember, BlendTask
from securefl.tasks.recommendation.personalization import Parts
from tuning_recommendation import learners, trained

WINDOW: Final = {"recommendation": {"held_out_days": 28}, "references": {"enabled": False}}
WITHOUT: Final[Mapping[str, tuple[str, ...]]] = {
    "own weights": (),
    "without lately": ("lately",),
    "without lately and here": ("lately", "here"),
    "mf": ("gru", "here", "lately", "together"),
}
SEEDS: Final = 2
Found = dict[str, Tensor]
"""Case to each metric of each held-out purchase, float64 [n, M]."""


def benchmark(quick: bool) -> list[Row]:
    data = load(load_config(options={"task": "recommendation"}).data)
    runs = []
    for seed in range(1 if quick else SEEDS):
        started = time.process_time()
        rounds = {"rounds": 1} if quick else {}
        prepared = prepare_data(load_config(options={**WINDOW, "seed": seed, **rounds}), data)
        runs.append(arms(prepared))
        for case, one in runs[-1].items():
            print(f"seed {seed}, {case}: {means([one])}", file=sys.stderr, flush=True)
        print(f"cpu_s {time.process_time() - started:.0f}", file=sys.stderr, flush=True)
    return list(rows_of(runs))


def arms(prepared: Prepared) -> Found:
    """Every arm under every choice of weights."""
    every = range(len(prepared.members))
    federated, _ = trained(prepared, learners(prepared, pooled=False), prepared.config.rounds)
    models = {"federated": federated, "alone": [by_itself(prepared, place) for place in every]}
    found: Found = {}
    for arm, fitted in models.items():
        found |= weighed(prepared, arm, prepared.members, fitted)
    together = prepared.pooled()
    return found | weighed(prepared, "centralized", [together], [pooled_model(prepared)])


def by_itself(prepared: Prepared, place: int) -> nn.Module:
    """The blend of one retailer, trained on its own customers, its own weights from the start."""
    learner = learners(prepared, pooled=False)[place].by_itself()
    return to_best(prepared, learner, prepared.config.references.alone)


def pooled_model(prepared: Prepared) -> nn.Module:
    (learner,) = learners(prepared, pooled=True)
    return to_best(prepared, learner, prepared.config.references.pooled)


def to_best(prepared: Prepared, learner: LocalProblem, settings: TrainingSettings) -> nn.Module:
    """A party's model by itself, its best round on validation."""
    model, config = learner.fresh_model("alone"), prepared.config
    load_shared(model, prepared.shared)
    train_to_best(learner, model, settings, config.rounds, config.patience)
    return model


@torch.no_grad()
def weighed(
    prepared: Prepared, arm: str, parties: Sequence[BlendMember], models: Sequence[nn.Module]
) -> Found:
    """An arm's metrics; alone there are no default weights."""
    task = prepared.task
    assert isinstance(task, BlendTask)
    found: dict[str, list[Tensor]] = {}
    for member, model in zip(parties, models, strict=True):
        shared = task.shared_parts(model.eval())
        beside = joined(shared, member.local.parts)
        for splits in member.cases.values():
            known = {split: computed(beside, splits[split]) for split in ("validation", "test")}
            for said, weights in choices(task, known["validation"], splits["validation"], arm):
                scores = known["test"] @ weights.float()
                found.setdefault(f"{arm}, {said}", []).append(scored(scores, splits["test"]))
    return {case: torch.cat(every) for case, every in found.items()}


def computed(parts: Parts, cases: Cases) -> Tensor:
    """All components of all cases, float [n, I, P]."""
    every = torch.split(torch.arange(len(cases.customers)), 256)
    return torch.cat([parts(cases, index) for index in every])


def choices(task: BlendTask, known: Tensor, cases: Cases, arm: str) -> Iterator[tuple[str, Tensor]]:
    """Weights of all components, 0 for those that are left out."""
    owners = components(task)
    choose = partial(_chosen, known, cases)
    if arm != "alone":
        yield "default weights", choose([True] * len(owners), task.default)
    for said, left_out in WITHOUT.items():
        yield said, choose([owner not in left_out for owner in owners], None)


def _chosen(
    known: Tensor, cases: Cases, held: Sequence[bool], default: DefaultWeights | None
) -> Tensor:
    mask = torch.tensor(held)
    weights = torch.zeros(len(mask), dtype=torch.float64)
    weights[mask] = chosen_weights(lambda index: known[index][:, :, mask], cases.ranking, default)
    return weights


def components(task: BlendTask) -> list[str]:
    """Which part each component of the scores belongs to."""
    settings = task.settings.parts
    names = [name for name in task.trained for _ in settings[name].weights or ()]
    return [*names, *(name for name in settings if settings[name].never_shared)]


def scored(scores: Tensor, cases: Cases) -> Tensor:
    """Each metric of each case, float64 [n, M]."""
    every = torch.split(torch.arange(len(scores)), 256)
    return torch.cat(
        [torch.stack(gains(scores[index], cases.ranking, index), dim=1) for index in every]
    )


# -- the table -------------------------------------------------------------------------------------


def rows_of(runs: Sequence[Found]) -> Iterator[Row]:
    """A row a case with the mean over seeds, then paired differences."""
    for case in runs[0]:
        yield Row(case, means([run[case] for run in runs]))
    yield difference(runs, "federated, default weights", "alone, own weights")
    for said in ("own weights", "without lately"):
        yield difference(runs, f"federated, {said}", f"alone, {said}")
    yield difference(runs, "federated, own weights", "federated, without lately")
    yield difference(runs, "federated, default weights", "federated, own weights")
    yield difference(runs, "centralized, own weights", "federated, own weights")


def means(every: Sequence[Tensor]) -> dict[str, float]:
    """Each metric over seeds and cases, float64 [n, M] each."""
    found = torch.stack([*every]).mean(dim=(0, 1)).tolist()
    return {name: round(value, 4) for name, value in zip(METRICS, found, strict=True)}


def difference(runs: Sequence[Found], one: str, other: str) -> Row:
    gained = torch.stack([run[one] - run[other] for run in runs]).mean(dim=0)
    measured: dict[str, float] = {}
    for name, values in zip(METRICS, gained.T, strict=True):
        measured |= with_error(name, values)
    return Row(f"{one}, less {other}", measured)


if __name__ == "__main__":
    main(__doc__.splitlines()[0], benchmark)
