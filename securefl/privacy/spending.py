"""What a member has spent of a run's budget."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spending:
    """One member's account; all of it follows from public constants.

    Attributes:
        epsilon: At the run's delta.
        noise_multiplier: sigma, the smallest of all steps.
        clip_norm: C.
        sampling_rate: q.
        steps: Private steps.
        customer_epsilon: What they come to for a whole customer of one retailer; None where no
            bound below 20 is known. With customers as units it is `epsilon` itself.
        two_retailers_epsilon: Under shared noise, what they come to for a customer of two
            retailers; None without, or where no bound is known.
    """

    epsilon: float
    noise_multiplier: float
    clip_norm: float
    sampling_rate: float
    steps: int
    customer_epsilon: float | None = None
    two_retailers_epsilon: float | None = None
