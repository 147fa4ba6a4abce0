"""What every privacy mechanism answers; nothing else in the project compares `privacy.dp`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from securefl.config.privacy import PrivacySettings
from securefl.errors import ConfigError
from securefl.privacy.accounting.events import PrivacyEvent, SampledGaussian
from securefl.privacy.accounting.spent import PrivacyUnit, privacy_unit
from securefl.privacy.round_updates import MemberContext, RoundTraining

if TYPE_CHECKING:
    from securefl.config.schema import RunConfig
    from securefl.privacy.encoding.sums import SumEncoding
    from securefl.privacy.noise.xnoise import LayerPlan
    from securefl.privacy.plan import PrivacyPlan
    from securefl_protocols.encoding.fixed_point import FixedPoint
    from securefl_protocols.encoding.rotation import Rotation

Releases = Literal["gradients", "series"]
"""What a task's noise is added to; see `TaskSpec.releases`."""


@dataclass(frozen=True)
class SumFormat:
    """How what members send becomes a masked sum, and the sum a mean.

    Attributes:
        encoding: How changes become integers.
        layers: How the members' noise is cut, where some of it is taken back.
        rotation: What whole updates are rotated by.
    """

    encoding: FixedPoint
    layers: LayerPlan | None = None
    rotation: Rotation | None = None


class PrivacyMechanism(ABC):
    """How the presence of a privacy unit is hidden in what a member releases.

    It is made once of a run's settings (`mechanism_for`) and asked for everything that follows
    from the kind of protection: by members, coordinator, ledger, audit and reports alike. All that
    it says follows from public constants.

    Args:
        settings: The run's privacy settings.
    """

    dp: ClassVar[str]
    """The value of `privacy.dp` that asks for it."""
    private: ClassVar[bool] = True
    """Whether there is a budget: no exact score of a single round, and no loss, leaves a member."""
    shares_noise: ClassVar[bool] = False
    """Whether members add parts of one noise, so that a customer of several moves its sum more."""
    by_example: ClassVar[bool] = True
    """Whether training examples are the units, so that a task has to keep them apart."""
    events: ClassVar[tuple[type[PrivacyEvent], ...]] = (SampledGaussian,)
    """What it charges; registered with it, so that a ledger can read them back."""

    def __init__(self, settings: PrivacySettings) -> None:
        self.settings = settings

    @classmethod
    def selected_by(cls, dp: str, unit: str | None) -> bool:
        """Whether these values of `privacy.dp` and `privacy.unit` ask for this mechanism."""
        del unit
        return dp == cls.dp

    @cached_property
    def unit(self) -> PrivacyUnit:
        """Whose presence is hidden."""
        return privacy_unit(self.settings.unit)

    @property
    def adjacency(self) -> str:
        """Between which data sets the two cannot be told apart."""
        return self.unit.adjacency

    @property
    def customers_share_noise(self) -> bool:
        """Whether a customer of several retailers is in one sum several times, under one noise."""
        return self.shares_noise and self.unit.covers_customers

    @property
    def noise_law(self) -> str:
        """The law of the noise, as the settings call it."""
        return self.dp

    @property
    def recorded_as(self) -> str:
        """What ledger entries of the run call the mechanism."""
        return self.events[0].recorded_as

    def units(self, own: int, members: int) -> int:
        """How many units a run has, as a member commits to it.

        Args:
            own: Units in the member's own data.
            members: Members in the roster.
        """
        del members
        return own

    @abstractmethod
    def describe(self, releases: Releases) -> str:
        """What is done to what a task releases, in words; it stands in results."""

    @abstractmethod
    def against(self) -> str:
        """From whom a unit is hidden."""

    @abstractmethod
    def noise_added(self) -> str:
        """Where the noise goes, for the table of a budget."""

    @abstractmethod
    def make_update(self, context: MemberContext) -> RoundTraining:
        """What a member does in a round.

        Raises:
            InputError: If the member's data cannot be protected as the configuration says.
        """

    def event(self, sigma: float, steps: int, sampling_rate: float) -> PrivacyEvent:
        """What so many steps under noise multiplier `sigma` cost."""
        return SampledGaussian(sigma, sampling_rate, steps)

    def planned_event(self, config: RunConfig, plan: PrivacyPlan) -> PrivacyEvent:
        """All rounds of a run under the noise that the budget asks for.

        Raises:
            ConfigError: If no noise keeps to the budget.
        """
        del config
        return plan.event(plan.sigma(plan.rounds), plan.rounds)

    def check(self, config: RunConfig, members: int, dimension: int) -> None:
        """Refuse before any member pays what can be seen to be impossible.

        Args:
            config: The run's configuration.
            members: Members in the roster.
            dimension: d, coordinates of the shared model.

        Raises:
            ConfigError: If no accountant has a price for what the mechanism does.
        """
        del members, dimension
        # Opacus takes seconds to import, and only a budget needs it.
        from securefl.privacy.plan import PrivacyPlan

        PrivacyPlan.of(config)

    def sum_encoding(self, config: RunConfig, dimension: int) -> SumEncoding:
        """How what a member sums up becomes integers before noise.

        Raises:
            ConfigError: If the mechanism sums no integers, or rounding is too fine.
        """
        del config, dimension
        raise ConfigError(f"privacy.dp: '{self.dp}' has no encoding of a sum")

    def sum_format(
        self, config: RunConfig, *, roster: int, cohort: int, dimension: int
    ) -> SumFormat | None:
        """The format of a masked sum, where the noise decides it; None where the settings do.

        Args:
            config: The run's configuration.
            roster: Members of the consortium.
            cohort: Members of the session.
            dimension: d.

        Raises:
            ConfigError: If no noise keeps to the budget.
            PlanError: If the numbers do not fit.
        """
        del config, roster, cohort, dimension
        return None

    def summed_deviation(self, config: RunConfig, members: int, dimension: int) -> float:
        """Standard deviation of the noise in each of d sums over all members' units.

        A public figure, which the standard errors of what follows from the sums have to contain.

        Raises:
            ConfigError: If no noise keeps to the budget, or the mechanism has no such figure.
        """
        del config, members, dimension
        raise ConfigError(f"privacy.dp: the noise of '{self.dp}' in a sum is not known")
