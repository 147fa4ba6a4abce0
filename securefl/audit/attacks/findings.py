"""From the figures of each attack to a line of the report."""

from __future__ import annotations

from dataclasses import asdict, replace

from scipy.stats import pearsonr

from securefl.audit.attacks import fdp, one_run
from securefl.audit.attacks.membership import Membership
from securefl.audit.attacks.probe import CanaryTraining, MembershipGame
from securefl.audit.attacks.report import Finding, bounded
from securefl.audit.attacks.roc import Estimate
from securefl.audit.attacks.rows import MaskedLeak, PrivateLeak, RowLeak
from securefl.audit.attacks.trade_off import ComposedLoss
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.accounting.spent import Spending

CHANCE = 1e-4
"""Where no epsilon is measured, what happens this rarely by chance refutes a claim."""
_GUESSES = 10
"""One guess for so many canaries; fixed beforehand, so that no figure chooses it."""


def charged(spending: Spending) -> SampledGaussian:
    """What a member says that it did, as one event."""
    return SampledGaussian(spending.noise_multiplier, spending.sampling_rate, spending.steps)


def account(probed: CanaryTraining, spending: Spending, steps: int, delta: float) -> Finding:
    """The claim against the steps that were seen, priced anew.

    Args:
        probed: What was released.
        spending: The claim.
        steps: Steps a round, as agreed.
        delta: At which epsilon is stated.
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
    """The one-run audit of what one member released."""
    size = len(game.canaries)
    guesses = one_run.guess(probed.scores(size), game.canaries, size // _GUESSES)
    told = f"{guesses.right} of {guesses.made} guesses right"
    noise = fdp.lower_bound(guesses, charged(spending), delta, confidence)
    return [
        bounded(
            "canaries in one run",
            told,
            one_run.lower_bound(guesses, delta, confidence),
            spending.epsilon,
            asdict(guesses),
        ),
        bounded(
            "canaries, f-DP",
            f"{told}; noise at most {noise.scale:.2f} of the stated",
            noise.epsilon,
            spending.epsilon,
            {**asdict(guesses), "noise_scale": noise.scale},
        ),
    ]


def two_members(
    probed: CanaryTraining,
    twin: CanaryTraining,
    game: MembershipGame,
    delta: float,
    confidence: float,
) -> list[Finding]:
    """One member's release minus another's: independent noise adds up, shared noise cancels.

    Args:
        probed: The member with canaries.
        twin: A member with as many customers, and nothing in the canaries' coordinates.
        game: Who took part.
        delta: At which epsilon is stated.
        confidence: Of the lower bound.
    """
    size, spending = len(game.canaries), probed.spending
    assert spending is not None
    ours, theirs = probed.scores(size), twin.scores(size)
    guesses = one_run.guess(ours - theirs, game.canaries, size // _GUESSES)
    noise = fdp.lower_bound(guesses, charged(spending), delta, confidence)
    alone = ~game.canaries
    correlation = pearsonr(ours[alone], theirs[alone])
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
            f"correlation {correlation.statistic:+.3f} over {int(alone.sum())} coordinates",
            None,
            None,
            bool(correlation.pvalue >= CHANCE),
            {"correlation": float(correlation.statistic), "p_value": float(correlation.pvalue)},
        ),
    ]


def loss_attack(name: str, found: Membership, claim: float | None) -> Finding:
    """Who was trained on, read from the released model's loss."""
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
    """Products read from what nothing hides: no claim is made, and none can be broken."""
    return Finding(name, _named(leak), None, None, None, asdict(leak))


def rows_masked(name: str, leak: MaskedLeak) -> Finding:
    """Products read from a masked update: the claim is that the attacker does not beat chance."""
    chance = leak.sold.low <= 0.5 and leak.uniform >= CHANCE
    gain = f"{_named(leak)}; bytes uniform, p = {leak.uniform:.2g}"
    return Finding(name, gain, None, None, chance, asdict(leak))


def rows_private(name: str, leak: PrivateLeak) -> Finding:
    """Products read from a noised update: the claim is for the one record behind a rare one."""
    gain = f"{_named(leak)}; of one rating AUC {_shown(leak.rare)}"
    return bounded(name, gain, leak.epsilon, leak.claim, asdict(leak))


def _named(leak: RowLeak) -> str:
    told = f"names {leak.named} of {leak.products} sold (blind {leak.chance:.0f})"
    return f"{told}, AUC {_shown(leak.sold)}"


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
