"""What a member writes of a release: the round that was asked for, and its price."""

from __future__ import annotations

from dataclasses import dataclass

from securefl.cohort import least_survivors
from securefl.config.privacy import PrivacySettings
from securefl.config.schema import RunConfig
from securefl.ledger.events import Mechanism, Release
from securefl.ledger.pricing import recorded
from securefl.privacy.events import PrivacyEvent
from securefl.privacy.mechanisms import mechanism_for


@dataclass(frozen=True)
class AskedRound:
    """What a member was asked for last.

    Attributes:
        number: Number of the round.
        cohort: Who is asked, in roster order.
        model: Digest of the shared model that training starts from, hex.
        charged: Its release is written and paid for.
    """

    number: int
    cohort: tuple[str, ...]
    model: str
    charged: bool = False


def recorded_mechanism(
    settings: PrivacySettings, event: PrivacyEvent, clip_norm: float, rng: str
) -> Mechanism:
    """A mechanism with its unit, and with the sampler and the noise as implemented."""
    common = {
        "unit": settings.unit,
        "adjacency": mechanism_for(settings).adjacency,
        "noise_multiplier": event.noise_multiplier,
        "clip_norm": clip_norm,
        "sampling_rate": event.sampling_rate,
        "steps": event.steps,
        "sampler": event.sampler,
        "rng": rng,
        "accountant": settings.accountant,
    }
    return recorded(event, common)


def release_event(
    config: RunConfig,
    asked: AskedRound,
    mechanism: Mechanism | None = None,
    *,
    before: float | None = None,
    after: float | None = None,
    repeat_of: int | None = None,
) -> Release:
    """The entry of a release.

    Args:
        config: The run's configuration.
        asked: The round.
        mechanism: What it costs; None costs nothing.
        before: What the data had paid over their life before it, at the run's delta.
        after: The same after it.
        repeat_of: Sequence number of the first release of the same update.
    """
    least = least_survivors(config.cohort, len(asked.cohort))
    return Release(
        round=asked.number,
        mode=config.mode,
        dp=config.privacy.dp,
        model_before=asked.model,
        threshold=least if config.mode == "secure" else None,
        cohort=asked.cohort,
        mechanism=mechanism,
        delta=None if mechanism is None else config.privacy.delta,
        epsilon_before=before,
        epsilon_after=after,
        repeat_of=repeat_of,
    )
