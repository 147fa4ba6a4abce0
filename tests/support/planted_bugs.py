"""Bugs planted in the product's training path, and which finding of the attack has to notice.

python -m support.planted_bugs write     runs every row over 20 seeds, and writes the table in
docs/explanation/empirical-audit.md; hours where the machine is shared.
"""

import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import nn

from securefl.audit.attacks import findings
from securefl.audit.attacks.canaries import small_member
from securefl.audit.attacks.layers import layer_member
from securefl.audit.attacks.probe import MembershipGame, Observed, probe
from securefl.audit.attacks.run import CONFIDENCE, on_layers, on_series, on_shares
from securefl.config.load import load_config
from securefl.federation.member.updates import local_dp
from securefl.privacy.dpsgd import book_keeping
from securefl.privacy.dpsgd.poisson_sampling import PoissonSampler
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.shares import NoisePlan
from securefl.tasks.demand.contribution_bounds import Contributions
from support.local_noise import divide
from support.paths import page

SEEDS = range(200, 220)
SETTINGS = {
    "dp": "local",
    "epsilon": 4.0,
    "delta": 1e-5,
    "sampling_rate": 1.0,
    "steps": 2,
    "learning_rate": 1.0,
    "gradients": "bookkeeping",
}


def settings(seed, **privacy):
    """A configuration to attack, whose noise follows from its seed."""
    changed = SETTINGS | privacy | {"insecure_testing_seed": seed}
    tutorial = {"source": "tutorial", "retailers": 3, "customers": 60, "interactions": [900, 900]}
    return load_config(
        None,
        {
            "task": "recommendation",
            "rounds": 5,
            "seed": seed,
            "data": tutorial,
            "model": {"name": "profile", "rank": 2},
            "recommendation": {"min_households": 3, "min_products": 4, "negatives": 5},
            "privacy": changed,
            "references": {"enabled": False},
            "engine": {"workers": 1},
        },
    )


def on_rounds(config, canaries, path):
    """The findings on one member's releases, without the guesses, which take longest."""
    learner = small_member(config)
    game = MembershipGame.sample(canaries, len(learner.data.examples), learner.seed("coins"))
    seen, privacy = probe(learner, game, path), config.privacy
    found = findings.draws(seen, game, seen.spending, privacy.steps)
    if privacy.sampling_rate == 1:
        scores = Observed(seen.scores(canaries), seen.spending)
        name, delta = findings.AS_NUMBERS, privacy.delta
        found.append(findings.as_numbers(name, scores, game.canaries, delta, CONFIDENCE))
    return found


def on_batches(config, canaries, path):
    """The same with sampled batches, of few canaries: they are counted and not scored."""
    privacy = config.privacy.model_copy(update={"sampling_rate": 0.5})
    return on_rounds(config.model_copy(update={"privacy": privacy}), min(canaries, 1000), path)


def on_every_layer(config, canaries, path):
    """The findings on a model of many layers."""
    return on_layers(layer_member(config), path)


def on_demand(config, canaries, path):
    """The findings on noised series."""
    return on_series(config, canaries, path)[0]


def same_noise_each_round(patch):
    """The stream of a member's noise begins anew in every round."""
    key = (7).to_bytes(32, "big")
    patch.setattr(local_dp, "member_stream", lambda *_: AesCtrRng.insecure_for_tests(key))


def without_layer(place):
    """The norm of a unit's gradient leaves one layer out."""

    def plant(patch):
        norms = book_keeping._squared_norms

        def some(use):
            found = norms(use)
            return torch.zeros_like(found) if _is(use.layer, place) else found

        patch.setattr(book_keeping, "_squared_norms", some)

    return plant


def _is(layer, place):
    if place == "tables":
        return isinstance(layer, nn.Embedding) and layer.embedding_dim > 1
    return isinstance(layer, nn.Linear) and layer.out_features == place


def shuffled(patch):
    """Batches are the parts of a shuffled list, each unit once in an epoch."""

    def batch(self):
        size = round(self.plan.rate * self.units)
        if not getattr(self, "left", None) or len(self.left) < size:
            words = torch.from_numpy(self._stream.words(self.units).view("int64"))
            self.left = torch.argsort(words).tolist()
        chosen, self.left = self.left[:size], self.left[size:]
        return torch.tensor(sorted(chosen))

    patch.setattr(PoissonSampler, "batch", batch)


def fixed_size(patch):
    """Batches are random, and all of one size."""

    def batch(self):
        words = torch.from_numpy(self._stream.words(self.units).view("int64"))
        return torch.argsort(words)[: round(self.plan.rate * self.units)].sort().values

    patch.setattr(PoissonSampler, "batch", batch)


def shares_divided(by):
    """Members draw shares of a deviation that many times smaller."""

    def plant(patch):
        sampler = NoisePlan.sampler

        def smaller(self):
            return sampler(
                replace(self, share_variance=Fraction(self.share_variance) / Fraction(by) ** 2)
            )

        patch.setattr(NoisePlan, "sampler", smaller)

    return plant


def unbounded_lines(patch):
    """Purchase lines are added up as they are."""

    def summed(self, bound):
        return sum_of(self, 1e12)

    sum_of = Contributions._summed
    patch.setattr(Contributions, "_summed", summed)
    patch.setattr(Contributions, "of_records", lambda self, bound, records: summed(self, bound))


def nothing(patch):
    """An honest run."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        bug: What is wrong.
        plant: Plants it.
        attack: The attack that is run.
        finding: The finding that has to refute the claim.
        least: In how many of 20 runs it has to, at its own level.
        level: Figure of the finding that has to be below 1; None for its verdict.
        most: In how many it may.
    """

    bug: str
    plant: Callable
    attack: Callable
    finding: str
    least: int = 20
    level: str | None = None
    most: int = 20

    def found(self, finding):
        """Return whether the bug was found."""
        return not finding.holds if self.level is None else finding.numbers[self.level] < 1


def _by(factor):
    return lambda patch: divide(patch, by=factor)


_NUMBERS, _SURE, _LIKELY = findings.AS_NUMBERS, "noise_scale_sure", "noise_scale"
TABLE = (
    Row("noise divided by 1.25", _by(1.25), on_rounds, _NUMBERS, 20, _SURE),
    Row("noise divided by 1.1", _by(1.1), on_rounds, _NUMBERS, 15, _LIKELY),
    Row("the same noise in every round", same_noise_each_round, on_rounds, findings.ROUNDS),
    Row("shuffled batches", shuffled, on_batches, findings.BATCHES),
    Row("batches of one size", fixed_size, on_batches, findings.BATCHES),
    Row("tables left out of the norm", without_layer("tables"), on_every_layer, findings.LAYERS),
    Row("the first layer left out", without_layer(16), on_every_layer, findings.LAYERS),
    Row("the second layer left out", without_layer(8), on_every_layer, findings.LAYERS),
    Row("the last layer left out", without_layer(5), on_every_layer, findings.LAYERS),
    Row("shares divided by 1.25", shares_divided(1.25), on_shares, findings.SHARES, 20, _SURE),
    Row("shares divided by 1.1", shares_divided(1.1), on_shares, findings.SHARES, 15, _LIKELY),
    Row("demand: noise divided by 1.25", _by(1.25), on_demand, findings.SERIES, 20, _SURE),
    Row("demand: noise divided by 1.1", _by(1.1), on_demand, findings.SERIES, 15, _LIKELY),
    Row("demand: lines not bounded", unbounded_lines, on_demand, findings.SERIES),
    *(
        Row(f"none ({name})", nothing, attack, name, 0, None, 0)
        for name, attack in (
            (findings.AS_NUMBERS, on_rounds),
            (findings.ROUNDS, on_rounds),
            (findings.BATCHES, on_batches),
            (findings.LAYERS, on_every_layer),
            (findings.SHARES, on_shares),
            (findings.SERIES, on_demand),
        )
    ),
)


def attacked(row, seed, canaries=5000):
    """Return the finding of a row with its bug in the product."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        row.plant(patch)
        found = row.attack(settings(seed), canaries, Path(folder))
        return next(finding for finding in found if finding.name == row.finding)


PAGE = page("empirical-audit.md")
BEGIN, END = "<!-- power: begin -->\n", "<!-- power: end -->"


def line_of(row):
    """Return a row of the page's table, over all seeds."""
    started = time.process_time()
    found = [attacked(row, seed) for seed in SEEDS]
    seconds = (time.process_time() - started) / len(SEEDS)
    bounds = sorted(one.lower_bound for one in found if one.lower_bound is not None)
    middle = ""
    if bounds:
        middle = f"{bounds[len(bounds) // 2]:.2f} ({bounds[0]:.2f} to {bounds[-1]:.2f})"
    level = {_SURE: " at 99.9 %", _LIKELY: " at 95 %", None: ""}[row.level]
    count = f"{sum(map(row.found, found))} of {len(found)}{level}"
    return f"| {row.bug} | {row.finding} | {count} | {middle} | {seconds:.1f} |"


def table():
    """Return the table of the page."""
    head = "| bug | finding | found | bound of epsilon, median (and range) | seconds a seed |"
    lines = [head, "|---|---|---|---|---|"]
    for row in TABLE:
        lines.append(line_of(row))
        sys.stderr.write(lines[-1] + "\n")
    return "\n".join(lines) + "\n"


def write():
    """Replace the table of the page."""
    text = PAGE.read_text()
    place = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    PAGE.write_text(place.sub(lambda _: BEGIN + table() + END, text))


if __name__ == "__main__" and sys.argv[1:] == ["write"]:
    write()
