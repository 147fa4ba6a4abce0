"""The interface of privacy mechanisms; no other code in the project compares `privacy.dp`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
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
    from securefl.privacy.encoding.gradients import SumEncoding
    from securefl.privacy.noise.xnoise import LayerPlan
    from securefl.privacy.plan import PrivacyPlan
    from securefl_protocols.encoding.fixed_point import FixedPoint
    from securefl_protocols.encoding.rotation import Rotation

Releases = Literal["gradients", "series"]
"""What noise is added to; see `TaskSpec.releases`."""


@dataclass(frozen=True)
class SumFormat:
    """The format of a masked sum, and of the mean that follows from it.

    Attributes:
        encoding: Fixed-point encoding of changes.
        layers: The layers of the members' noise, where excess noise is removed.
        rotation: The rotation of whole updates.
    """

    encoding: FixedPoint
    layers: LayerPlan | None = None
    rotation: Rotation | None = None


class PrivacyMechanism(ABC):
    """A way to hide the presence of a privacy unit in what a member releases.

    It is made once from a run's settings (`mechanism_for`) and decides everything that follows from
    the kind of protection, for members, coordinator, ledger, audit and reports alike. All of it
    follows from public constants.

    Args:
        settings: The run's privacy settings.
    """

    dp: ClassVar[str]
    """The value of `privacy.dp` that selects it."""
    private: ClassVar[bool] = True
    """Whether there is a budget: no exact score of a single round, and no loss, leaves a member."""
    shares_noise: ClassVar[bool] = False
    """Whether members share one noise, so that a customer of several of them moves the sum more."""
    by_example: ClassVar[bool] = True
    """Whether training examples are the units, so that a task has to keep them apart."""
    events: ClassVar[tuple[type[PrivacyEvent], ...]] = (SampledGaussian,)
    """The events that it charges; registered with it, so that ledger records can be read back."""

    def __init__(self, settings: PrivacySettings) -> None:
        self.settings = settings

    @classmethod
    def selected_by(cls, dp: str, unit: str | None) -> bool:
        """Return whether these values of `privacy.dp` and `privacy.unit` select this mechanism."""
        del unit
        return dp == cls.dp

    @cached_property
    def unit(self) -> PrivacyUnit:
        """The privacy unit, whose presence is hidden."""
        return privacy_unit(self.settings.unit)

    @property
    def adjacency(self) -> str:
        """The neighbouring relation between data sets, in the wording of ledger entries."""
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
        """The mechanism's name in ledger entries of the run."""
        return self.events[0].recorded_as

    def units(self, own: int, members: int) -> int:
        """Return the number of privacy units of a run, to which a member commits.

        Args:
            own: Units in the member's own data.
            members: Members in the roster.
        """
        del members
        return own

    @abstractmethod
    def describe(self, releases: Releases) -> str:
        """Return a description of the mechanism on what a task releases, for results."""

    @abstractmethod
    def against(self) -> str:
        """Return the parties from which a unit is hidden."""

    @abstractmethod
    def noise_added(self) -> str:
        """Return where noise is added, for the budget table."""

    @abstractmethod
    def make_update(self, context: MemberContext) -> RoundTraining:
        """Return a member's training of a round.

        Raises:
            InputError: If the member's data cannot be protected as the configuration says.
        """

    def event(self, sigma: float, steps: int, sampling_rate: float) -> PrivacyEvent:
        """Return the event of `steps` steps under noise multiplier `sigma`."""
        return SampledGaussian(sigma, sampling_rate, steps)

    def planned_event(self, config: RunConfig, plan: PrivacyPlan) -> PrivacyEvent:
        """Return the event of all rounds of a run, under the noise that the budget requires.

        Raises:
            ConfigError: If no noise keeps to the budget.
        """
        del config
        return plan.event(plan.sigma(plan.rounds), plan.rounds)

    def round_event(
        self,
        config: RunConfig,
        members: int,
        dimension: int,
        number: int,
        charged: Sequence[PrivacyEvent],
    ) -> PrivacyEvent:
        """Return the event that a member charges for a round; an audit compares it with the record.

        Args:
            config: The run's configuration.
            members: Members in the roster.
            dimension: d, coordinates of the shared model.
            number: Number of the round.
            charged: The member's charges of this run before it; equal ones merged, the latest last.

        Raises:
            ConfigError: If no noise keeps to what is left of the budget.
        """
        del members, dimension
        # Opacus takes seconds to import, and only a budget needs it.
        from securefl.privacy.plan import PrivacyPlan

        plan = PrivacyPlan.of(config)
        return plan.event(plan.round_sigma(number, charged))

    def check(self, config: RunConfig, members: int, dimension: int) -> None:
        """Refuse a run that cannot succeed, before any member is charged.

        Args:
            config: The run's configuration.
            members: Members in the roster.
            dimension: d, coordinates of the shared model.

        Raises:
            ConfigError: If no accountant supports what the mechanism does, or no noise keeps to
                the budget.
        """
        del members, dimension
        # Opacus takes seconds to import, and only a budget needs it.
        from securefl.privacy.plan import PrivacyPlan

        PrivacyPlan.of(config).check_kept()

    def sum_encoding(self, config: RunConfig, dimension: int) -> SumEncoding:
        """Return the integer encoding of a member's sum before noise.

        Raises:
            ConfigError: If the mechanism sums no integers, or rounding is too fine.
        """
        del config, dimension
        raise ConfigError(f"privacy.dp: '{self.dp}' has no encoding of a sum")

    def sum_format(
        self, config: RunConfig, *, roster: int, cohort: int, dimension: int
    ) -> SumFormat | None:
        """Return the format of a masked sum if the noise decides it; None if the settings do.

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

    def summed_deviation(
        self, config: RunConfig, members: int, dimension: int, survivors: int | None = None
    ) -> float:
        """Return the standard deviation of the noise in each of d sums over members' units.

        A public figure; standard errors of estimates from the sums have to include it.

        Args:
            config: The run's configuration.
            members: Members in the roster.
            dimension: d.
            survivors: Members in the sum; all without it.

        Raises:
            ConfigError: If no noise keeps to the budget, or the mechanism has no such figure.
        """
        del config, members, dimension, survivors
        raise ConfigError(f"privacy.dp: the noise of '{self.dp}' in a sum is not known")
