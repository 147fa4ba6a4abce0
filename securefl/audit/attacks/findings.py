"""Conversion of attack results into findings of the report."""

from __future__ import annotations

from dataclasses import asdict, replace

from scipy.stats import pearsonr

from securefl.audit.attacks import fdp, gaussian_scores, one_run
from securefl.audit.attacks.draws import between_rounds, participation
from securefl.audit.attacks.layers import LayerMoves
from securefl.audit.attacks.membership import Membership
from securefl.audit.attacks.probe import CanaryTraining, Mask, MembershipGame, Observed
from securefl.audit.attacks.report import Finding, bounded
from securefl.audit.attacks.roc import Estimate
from securefl.audit.attacks.rows import MaskedLeak, PrivateLeak, RowLeak
from securefl.audit.attacks.trade_off import ComposedLoss
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.accounting.spent import Spending

AS_NUMBERS = "canaries, scores as numbers"
SHARES = "canaries in a sum of shares"
SERIES = "canaries in noised series"
ROUNDS = "noise of the rounds"
BATCHES = "batches of the steps"
LAYERS = "clipping of every layer"
CHANCE = 1e-4
"""Significance level for claims without an epsilon; low, so that sound code rarely fails."""
_GUESSES = 10
"""Canaries per guess; fixed in advance, since choosing it by the result would void the bound."""


def charged(spending: Spending) -> SampledGaussian:
    """Return the steps that a member charged, as one event."""
    return SampledGaussian(spending.noise_multiplier, spending.sampling_rate, spending.steps)


def account(probed: CanaryTraining, spending: Spending, steps: int, delta: float) -> Finding:
    """Compare the claim with the recomputed epsilon of the observed steps.

    Args:
        probed: The observed training.
        spending: The claim.
        steps: Agreed number of steps per round.
        delta: Delta of the claim.
    """
    seen = probed.rounds * steps
    event = replace(charged(spending), steps=seen)
    return bounded(
        "account, priced anew",
        f"{seen} steps seen, {spending.steps} charged",
        ComposedLoss.of(event).epsilon_at_least(delta),
        spending.epsilon,
        {"steps_seen": seen, "steps_charged": spending.steps},
    )


def canaries(
    probed: CanaryTraining,
    game: MembershipGame,
    spending: Spending,
    delta: float,
    confidence: float,
) -> list[Finding]:
    """Return the findings of the one-run audit of one member's releases."""
    size = len(game.canaries)
    guesses = one_run.guess(probed.scores(size), game.canaries, size // _GUESSES)
    summary = f"{guesses.right} of {guesses.made} guesses right"
    noise = fdp.lower_bound(guesses, charged(spending), delta, confidence)
    return [
        *_as_numbers(probed, game, spending, delta, confidence),
        bounded(
            "canaries in one run",
            summary,
            one_run.lower_bound(guesses, delta, confidence),
            spending.epsilon,
            asdict(guesses),
        ),
        bounded(
            "canaries, f-DP",
            f"{summary}; noise at most {noise.scale:.2f} of the stated",
            noise.epsilon,
            spending.epsilon,
            {**asdict(guesses), "noise_scale": noise.scale},
        ),
    ]


def _as_numbers(
    probed: CanaryTraining,
    game: MembershipGame,
    spending: Spending,
    delta: float,
    confidence: float,
) -> list[Finding]:
    """Return the finding from the size of the scores; none under sampling, where it is not known.

    The claim is refuted by its epsilon, or by the stated noise itself: epsilon is an upper bound of
    what was spent, and hides noise that is a little too small.
    """
    if spending.sampling_rate != 1:
        return []
    seen = Observed(probed.scores(len(game.canaries)), spending)
    return [as_numbers(AS_NUMBERS, seen, game.canaries, delta, confidence)]


def as_numbers(
    name: str, seen: Observed, included: Mask, delta: float, confidence: float
) -> Finding:
    """Return the finding from what was observed of canaries, in steps on all units.

    The claim of full batches is exact, so that a bound at 95 % is above it once in twenty sound
    runs. It counts as refuted where the bound at 99.9 % is above it.
    """
    spending = seen.spending
    assert spending is not None
    found = gaussian_scores.estimate(seen.scores, included, charged(spending))
    epsilon, scale = found.epsilon(delta, confidence), found.noise_scale(confidence)
    sure = found.noise_scale(gaussian_scores.SURE)
    numbers = {**asdict(found), "noise_scale": scale, "noise_scale_sure": sure}
    least = found.epsilon(delta, gaussian_scores.SURE)
    holds = least <= spending.epsilon and sure >= 1
    numbers["epsilon_sure"] = least
    summary = f"{found.mu:.2f} deviations apart; noise at most {scale:.2f} of the stated"
    return Finding(name, summary, epsilon, spending.epsilon, holds, numbers)


def draws(
    probed: CanaryTraining, game: MembershipGame, spending: Spending, steps: int
) -> list[Finding]:
    """Return the findings on noise that is used again, and on batches that are no Poisson samples.

    Args:
        probed: The observed training.
        game: Included canaries and customers.
        spending: The claim.
        steps: Agreed number of steps per round.
    """
    found = []
    noise = between_rounds(probed.by_round(len(game.canaries)), game.canaries)
    if noise is not None:
        gain = f"correlation {noise.correlation:+.3f} at most, of {noise.pairs} pairs"
        holds = noise.p_value >= CHANCE
        found.append(Finding(ROUNDS, gain, None, None, holds, asdict(noise)))
    batches = participation(probed, spending.sampling_rate, steps)
    if batches is not None:
        gain = (
            f"variance of units {batches.of_units:.2f} and of batches {batches.of_batches:.2f} of"
            " Poisson samples'"
        )
        holds = batches.p_value >= CHANCE
        found.append(Finding(BATCHES, gain, None, None, holds, asdict(batches)))
    return found


def layers(moves: LayerMoves) -> Finding:
    """Return the finding on how far one unit moves the layers of the model."""
    worst = moves.worst
    gain = (
        f"one unit moves the sum by {moves.moved[worst]:.3f} clip norms at most, with"
        f" {moves.share[worst]:.0%} of its gradient in {worst}"
    )
    return Finding(LAYERS, gain, None, None, moves.within, asdict(moves))


def two_members(
    probed: CanaryTraining,
    twin: CanaryTraining,
    game: MembershipGame,
    delta: float,
    confidence: float,
) -> list[Finding]:
    """Attack the difference of two members' releases: shared noise would cancel in it.

    Args:
        probed: The member with canaries.
        twin: A member with as many customers, and no signal in the canaries' coordinates.
        game: Included canaries and customers.
        delta: Delta of the claim.
        confidence: Confidence level of the lower bound.
    """
    size, spending = len(game.canaries), probed.spending
    assert spending is not None
    ours, theirs = probed.scores(size), twin.scores(size)
    guesses = one_run.guess(ours - theirs, game.canaries, size // _GUESSES)
    noise = fdp.lower_bound(guesses, charged(spending), delta, confidence)
    # Coordinates of excluded canaries hold noise only: any correlation in them is shared noise.
    noise_only = ~game.canaries
    correlation = pearsonr(ours[noise_only], theirs[noise_only])
    return [
        bounded(
            "difference of two members, f-DP",
            f"{guesses.right} of {guesses.made} guesses right",
            noise.epsilon,
            spending.epsilon,
            {**asdict(guesses), "noise_scale": noise.scale},
        ),
        Finding(
            "noise of two members",
            f"correlation {correlation.statistic:+.3f} over {int(noise_only.sum())} coordinates",
            None,
            None,
            bool(correlation.pvalue >= CHANCE),
            {"correlation": float(correlation.statistic), "p_value": float(correlation.pvalue)},
        ),
    ]


def loss_attack(name: str, found: Membership, claim: float | None) -> Finding:
    """Return the finding of membership inference by the released model's loss."""
    rate, hits = next(iter(found.hits.items()))
    return Finding(
        name,
        f"AUC {_shown(found.area)}; finds {hits.value:.1%} at {rate:.0%} false alarms",
        found.epsilon,
        claim,
        None if claim is None else found.epsilon <= claim,
        {
            "auc": asdict(found.area),
            "hits": {f"{rate:g}": asdict(estimate) for rate, estimate in found.hits.items()},
            "inside": found.inside,
            "outside": found.outside,
        },
    )


def rows_unprotected(name: str, leak: RowLeak) -> Finding:
    """Return the finding for an unprotected update or sum, for which no claim is made."""
    return Finding(name, _named(leak), None, None, None, asdict(leak))


def rows_masked(name: str, leak: MaskedLeak) -> Finding:
    """Return the finding for a masked update: the attacker must not be better than chance."""
    chance = leak.sold.low <= 0.5 and leak.uniform >= CHANCE
    gain = f"{_named(leak)}; bytes uniform, p = {leak.uniform:.2g}"
    return Finding(name, gain, None, None, chance, asdict(leak))


def rows_private(name: str, leak: PrivateLeak) -> Finding:
    """Return the finding for a noised update: the claim is the epsilon of a single record."""
    gain = f"{_named(leak)}; of one rating AUC {_shown(leak.rare)}"
    return bounded(name, gain, leak.epsilon, leak.claim, asdict(leak))


def _named(leak: RowLeak) -> str:
    summary = f"names {leak.named} of {leak.products} sold (blind {leak.chance:.0f})"
    return f"{summary}, AUC {_shown(leak.sold)}"


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
