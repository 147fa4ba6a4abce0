"""What a member has spent, and in what words a result says so."""

from __future__ import annotations

from dataclasses import dataclass

from securefl.config.privacy import PrivacySettings, Unit

_ADJACENCY = {
    "customer": "add or remove one customer",
    "record": "add or remove one record",
    "member": "one member's update or zero in its place",
}


def adjacency_of(unit: Unit) -> str:
    """Between which data sets the two cannot be told apart."""
    return _ADJACENCY[unit]


def against(settings: PrivacySettings) -> str:
    """From whom a unit is hidden."""
    if settings.dp == "local":
        return "everyone who sees what its retailer releases"
    colluding = settings.distributed.colluding
    if not colluding:
        return "everyone but the other retailers, who know their own noise shares"
    members = "retailer" if colluding == 1 else "retailers"
    return f"the coordinator and everyone who sees the sums, {colluding} {members} among them"


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
