"""Private steps against the same loop without privacy, and the noise against torch's.

`ratio` compares with the same loop without privacy: same model, batch size, optimizer class and
kernel (`fused=True` for Adam, which is what members train with). `ratio to default Adam` compares
with the tutorial's own loop, whose `torch.optim.Adam(parameters)` is not fused. All take turns in
one run, on one torch thread; seconds are CPU seconds. `peak` is the most memory a process of its
own needs over what it has after its imports, and `peak ratio` compares it with plain Adam's.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness import Row, interleaved, main
from securefl.ml.batches import Batch, TensorExamples
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.privacy.dpsgd.trainer import PrivateSettings, PrivateTrainer
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.grid import Grid, GridNoise

UNITS = 10_000


@dataclass(frozen=True)
class Setting:
    """One model and batch; `rows` interactions a unit (0: a unit is a row, without an axis)."""

    name: str
    items: int
    batch: int
    rows: int = 0


TUTORIAL = Setting("tutorial NCF, batch 128", items=500, batch=128)
CUSTOMERS = Setting("customer batches [64, 16]", items=500, batch=64, rows=16)
MANY = Setting("50 k items, batch 128", items=50_000, batch=128)


class RatingNet(nn.Module):
    """The tutorial's network, on any leading axes."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.user = nn.Embedding(1000, 64)
        self.item = nn.Embedding(items, 64)
        self.mlp = nn.Sequential(
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(64, 5),
        )

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.mlp(torch.cat([self.user(user), self.item(item)], dim=-1))


def examples(setting: Setting) -> TensorExamples:
    shape = (UNITS, setting.rows) if setting.rows else (UNITS,)
    user = torch.randint(1000, (UNITS,))
    if setting.rows:
        user = user[:, None].repeat(1, setting.rows)
    mask = torch.rand(shape) < 0.8
    return TensorExamples(
        (user, torch.randint(setting.items, shape), torch.randint(5, shape), mask)
    )


def loss(model: nn.Module, batch: Batch) -> Tensor:
    user, item, rating, mask = batch
    logits = model(user, item)
    if user.dim() == 1:
        return functional.cross_entropy(logits, rating, reduction="none")
    each = functional.cross_entropy(logits.mT, rating, reduction="none")
    return (each * mask).sum(1) / mask.sum(1).clamp_min(1)


def plain_step(setting: Setting, optimizer: str) -> Callable[[], object]:
    data, model = examples(setting), RatingNet(setting.items)
    inner: torch.optim.Optimizer
    if optimizer == "sgd":
        inner = torch.optim.SGD(model.parameters(), lr=0.1)
    else:
        inner = torch.optim.Adam(model.parameters(), lr=1e-3, fused=optimizer == "fused Adam")

    def step() -> None:
        inner.zero_grad()
        loss(model, data.batch(torch.randint(UNITS, (setting.batch,)))).mean().backward()
        inner.step()

    return step


def private_step(setting: Setting, path: str, *, optimizer: str = "adam") -> Callable[[], object]:
    plan = SamplingPlan(rate=setting.batch / UNITS, steps=1, expected_batch=float(setting.batch))
    settings = PrivateSettings(plan, clip_norm=1.0, noise_multiplier=1.0, path=path, piece=4096)
    settings = replace(settings, optimizer=optimizer)
    trainer = PrivateTrainer(
        RatingNet(setting.items),
        examples(setting),
        loss,
        settings,
        stream=AesCtrRng(),
        accountant=PrivacyAccountant(),
    )
    trainer.model.train()
    return lambda: trainer.step(trainer.sampler.batch())


def compare(setting: Setting, paths: tuple[str, ...], repeats: int, *, quick: bool) -> list[Row]:
    """Adam on both sides."""
    cases = {name: plain_step(setting, name) for name in ("fused Adam", "default Adam")}
    cases |= {path: private_step(setting, path) for path in paths}
    seconds = interleaved(cases, repeats)
    return [
        Row(
            f"{path} {setting.name}, Adam, noise on every coordinate",
            {
                "ms": seconds[path] * 1e3,
                "plain ms": seconds["fused Adam"] * 1e3,
                "ratio": seconds[path] / seconds["fused Adam"],
                "ratio to default Adam": seconds[path] / seconds["default Adam"],
            }
            | ({} if quick else memory(setting, path, "adam")),
        )
        for path in paths
    ]


def memory(setting: Setting, path: str, optimizer: str) -> dict[str, float]:
    """Peak megabytes of some steps in a process of their own, and over those of plain Adam."""
    private = _peak(setting, path, optimizer)
    plain = _peak(setting, "plain", "fused Adam")
    ratio = {"peak ratio": private / plain} if plain > 10 else {}
    return {"peak MB": private, "plain peak MB": plain} | ratio


def _peak(setting: Setting, path: str, optimizer: str) -> float:
    call = [sys.executable, __file__, "--peak", setting.name, path, optimizer]
    return json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE).stdout)


def peak(name: str, path: str, optimizer: str) -> float:
    """Runs in the child."""
    setting = next(s for s in (TUTORIAL, CUSTOMERS, MANY) if s.name == name)
    torch.set_num_threads(1)
    plain_step(TUTORIAL, "sgd")()
    before = high_water()
    if path == "plain":
        step = plain_step(setting, optimizer)
    else:
        step = private_step(setting, path, optimizer=optimizer)
    for _ in range(3):
        step()
    return high_water() - before


def high_water() -> float:
    """Peak resident megabytes since this program began; `ru_maxrss` counts the parent's too."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def noise(repeats: int) -> list[Row]:
    """Sums rounded and noised in integers, against torch's normals added to a float32 tensor."""
    count = 1 << 21
    ours, target = GridNoise(AesCtrRng()), torch.zeros(count)
    total, grid = np.zeros(count), Grid.of(1.0, count, 1.0)
    seconds = interleaved(
        {
            "ours": lambda: ours.release(total, grid, target.numpy()),
            "torch": lambda: target.add_(torch.randn(count)),
        },
        repeats,
    )
    return [
        Row(
            "noise, float64 sums, rounded, noised and written as float32",
            {
                "ns a sample": seconds["ours"] / count * 1e9,
                "torch.randn ns": seconds["torch"] / count * 1e9,
                "rate over torch.randn": seconds["torch"] / seconds["ours"],
            },
        )
    ]


def benchmark(quick: bool) -> list[Row]:
    repeats = 15 if quick else 120
    rows = compare(TUTORIAL, ("bookkeeping", "hooks"), repeats, quick=quick)
    rows += compare(CUSTOMERS, ("bookkeeping",), repeats, quick=quick)
    rows += compare(MANY, ("bookkeeping",), 5 if quick else 15, quick=quick)
    return rows + noise(5 if quick else 15)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        print(json.dumps(peak(*sys.argv[2:])))
    else:
        main("Privacy: steps and noise", benchmark)
