"""The empirical audit: draw canaries, train, attack, and compare with the claimed epsilon."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from securefl.audit.attacks import findings
from securefl.audit.attacks.canaries import small_member
from securefl.audit.attacks.layers import layer_member, layer_moves
from securefl.audit.attacks.membership import membership
from securefl.audit.attacks.probe import MembershipGame, Observed, probe, renamed, unprotected
from securefl.audit.attacks.report import AttackReport, Finding
from securefl.audit.attacks.rows import masked_rows, plain_rows, private_rows
from securefl.audit.attacks.series import observe_series, series_member
from securefl.audit.attacks.shares import observe_shares, sharing_member
from securefl.config.schema import RunConfig
from securefl.config.task_registry import declaration
from securefl.errors import ConfigError, InputError
from securefl.federation.runs.prepare import Prepared, prepare
from securefl.federation.runs.progress import Progress, Silent
from securefl.privacy.accounting.calibration import Budget
from securefl.privacy.accounting.spent import Spending
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.common.learner import LocalProblem

CANARIES = 5000
"""Enough to find noise of half the stated deviation at epsilon 4; empirical-audit.md."""
CONFIDENCE = 0.95
_FEWEST_CANARIES = 200
_FEWEST_CUSTOMERS = 20


def attack(
    config: RunConfig, *, canaries: int = CANARIES, progress: Progress | None = None
) -> AttackReport:
    """Attack the private training of a configuration, on this machine and on its data.

    Args:
        config: Configuration of a private run.
        canaries: Number of canaries, each included with probability 1/2.
        progress: Receiver of progress messages.

    Raises:
        InputError: If there are too few canaries or customers for a conclusive attack.
        ConfigError: If the configuration is not private, or hides members.
    """
    mechanism = mechanism_for(config.privacy)
    if not mechanism.private:
        raise ConfigError("privacy.dp: there is no claim to attack; state a budget (--epsilon 4)")
    if not mechanism.by_example:
        raise ConfigError(
            "privacy.unit: what is attacked here are customers and records, no member"
        )
    if canaries < _FEWEST_CANARIES:
        raise InputError(f"{canaries} canaries prove nothing; take {_FEWEST_CANARIES} or more")
    reporter, started = progress or Silent(), time.perf_counter()
    torch.set_num_threads(1)
    series = declaration(config.task).releases != "gradients"
    with tempfile.TemporaryDirectory(prefix="securefl-attack-") as folder:
        on_task = _on_series if series else _on_gradients
        member, found, spending = on_task(config, canaries, Path(folder), reporter)
    return AttackReport(
        member=member,
        unit=config.privacy.unit,
        epsilon=spending.epsilon,
        delta=config.privacy.delta,
        canaries=canaries,
        rounds=config.rounds,
        seed=config.seed,
        confidence=CONFIDENCE,
        seconds=time.perf_counter() - started,
        findings=tuple(found),
    )


def _on_gradients(
    config: RunConfig, canaries: int, path: Path, reporter: Progress
) -> tuple[str, list[Finding], Spending]:
    """Attack a task in which every customer has a gradient."""
    reporter.stage("Loading and partitioning the data")
    learner = attacked(prepare(config))
    reporter.stage(f"Training privately with {canaries} canaries, and a second member to subtract")
    found, spending = on_noise(small_member(config), canaries, path)
    reporter.stage("Adding shares of noise, and clipping layer by layer")
    found += on_shares(config, canaries, path)
    found += on_layers(layer_member(config), path)
    reporter.stage(f"Training {learner.data.name} with and without privacy")
    found += on_customers(learner, path)
    reporter.stage("Reading products from plain, masked and private updates")
    found += on_rows(config, path)
    return learner.data.name, found, spending


def _on_series(
    config: RunConfig, canaries: int, path: Path, reporter: Progress
) -> tuple[str, list[Finding], Spending]:
    """Attack a task that releases noised series: in it no customer has a gradient."""
    reporter.stage(f"Releasing noised series with {canaries} canaries")
    found, spending = on_series(config, canaries, path)
    return "a generated retailer", found, spending


def attacked(prepared: Prepared) -> LocalProblem:
    """Return the member with the most customers, where membership inference has most power.

    Raises:
        InputError: If it has too few customers.
    """
    data = max(prepared.members, key=lambda member: len(member.examples))
    if len(data.examples) < _FEWEST_CUSTOMERS:
        raise InputError(f"{data.name} has too few customers to tell members from others")
    return LocalProblem(prepared.config, prepared.task, prepared.facts, data)


def on_noise(learner: LocalProblem, canaries: int, path: Path) -> tuple[list[Finding], Spending]:
    """Run the canary attacks on all releases of a member over all rounds."""
    delta = learner.config.privacy.delta
    game = MembershipGame.sample(
        canaries, len(learner.data.examples), learner.seed("audit", "coins")
    )
    ours = probe(learner, game, path / "member")
    second = renamed(learner, f"{learner.data.name}-second")
    # Without pull, the twin trains as many customers but its canary coordinates hold noise only.
    twin = probe(second, game, path / "second", pull=0.0)
    spending = ours.spending
    assert spending is not None
    found = [
        findings.account(ours, spending, learner.config.privacy.steps, delta),
        *findings.canaries(ours, game, spending, delta, CONFIDENCE),
        *findings.two_members(ours, twin, game, delta, CONFIDENCE),
        *findings.draws(ours, game, spending, learner.config.privacy.steps),
    ]
    return found, spending


def on_layers(learner: LocalProblem, path: Path) -> list[Finding]:
    """Compare how far one unit moves each layer of a model with the clip norm."""
    return [findings.layers(layer_moves(learner, path / "layers"))]


def on_shares(config: RunConfig, canaries: int, path: Path) -> list[Finding]:
    """Run the canary attack on the honest shares of a sum, under the same budget."""
    learner = sharing_member(config)
    game = MembershipGame.sample(
        canaries, len(learner.data.examples), learner.seed("audit", "coins")
    )
    return _numbers(findings.SHARES, observe_shares(learner, game, path / "shares"), game, learner)


def on_series(config: RunConfig, canaries: int, path: Path) -> tuple[list[Finding], Spending]:
    """Run the canary attack on the noised series of all rounds."""
    learner = series_member(config, canaries)
    game = MembershipGame.sample(canaries, 1, learner.seed("audit", "coins"))
    seen = observe_series(learner, game.canaries, path / "series")
    assert seen.spending is not None
    return _numbers(findings.SERIES, seen, game, learner), seen.spending


def _numbers(
    name: str, seen: Observed, game: MembershipGame, learner: LocalProblem
) -> list[Finding]:
    delta = learner.config.privacy.delta
    return [findings.as_numbers(name, seen, game.canaries, delta, CONFIDENCE)]


def on_customers(learner: LocalProblem, path: Path) -> list[Finding]:
    """Run membership inference on real customers, half of whom the model was trained on."""
    delta = learner.config.privacy.delta
    game = MembershipGame.sample(0, len(learner.data.examples), learner.seed("audit", "coins"))
    private = probe(learner, game, path / "private")
    bare = probe(unprotected(learner), game, path / "bare")
    spending = private.spending
    assert spending is not None
    found = membership(learner, private, game.customers, delta, CONFIDENCE)
    without = membership(learner, bare, game.customers, delta, CONFIDENCE)
    return [
        findings.loss_attack("membership by loss", found, spending.epsilon),
        findings.loss_attack("the same without privacy", without, None),
    ]


def on_rows(config: RunConfig, path: Path) -> list[Finding]:
    """Run attribute inference from product rows of the tutorial's network, by protection."""
    epsilon = config.privacy.epsilon
    assert epsilon is not None
    plain = plain_rows(config.seed, path / "plain", CONFIDENCE)
    certainty = 1 - findings.CHANCE  # a masked row has no epsilon, it must be at chance
    masked, total = masked_rows(config.seed, path / "masked", CONFIDENCE, certainty)
    private = private_rows(config.seed, Budget(epsilon, config.privacy.delta), CONFIDENCE)
    return [
        findings.rows_unprotected("product rows, plain update", plain),
        findings.rows_masked("product rows, masked update", masked),
        findings.rows_unprotected("product rows, sum of four members", total),
        findings.rows_private("product rows, private update", private),
    ]
