"""load -> partition: from a configuration to the members' data and the starting model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from securefl.config.load import nearest
from securefl.config.schema import RunConfig
from securefl.data.digests import DataDigests
from securefl.data.sources.public_catalogue import common_data
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData
from securefl.errors import ConfigError, InputError
from securefl.federation.aggregation.session_parameters import check_provable
from securefl.federation.runs.bound_data import check_warm_start
from securefl.ml.device import choose_device
from securefl.ml.vectors import FloatVector
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.base import AnyTask, MemberData, UnableMember, able_or_not
from securefl.tasks.registry import check_model, create_task
from securefl.tasks.served.starting import Carrier, carrier_of, starting_model
from securefl.tasks.served.vocabulary import Vocabulary
from securefl.tasks.served.writing import vocabulary_of

POOLED = "pooled"
_GO_ON = "lower the thresholds of [{task}]: securefl data init proposes some"


@dataclass(frozen=True)
class Prepared:
    """The input of a run's rounds.

    Attributes:
        config: The run's configuration.
        task: Its task.
        facts: The task's agreed public metadata.
        members: The members' data, in roster order.
        shared: The shared model before the first round, float32 [d].
        digests: Which data these are.
        vocabulary: The agreed products under their labels.
        earlier: The model that the run goes on from; None where it begins anew, and over a network.
    """

    config: RunConfig
    task: AnyTask
    facts: Any
    members: tuple[MemberData, ...]
    shared: FloatVector
    digests: DataDigests
    vocabulary: Vocabulary = field(default_factory=Vocabulary.empty)
    earlier: Carrier | None = None

    @property
    def unable(self) -> dict[str, str]:
        """Members that take no part, as they have too few data, and what is missing."""
        return {one.name: one.reason for one in self.members if isinstance(one, UnableMember)}

    def pooled(self, without: Collection[str] = ()) -> MemberData:
        """Return the data of all members together, for the centralized baseline.

        Args:
            without: Members that do not take part.
        """
        members = [member for member in self.members if member.name not in without]
        pooled: MemberData = self.task.pool(members, self.facts)
        return pooled


def prepare(config: RunConfig) -> Prepared:
    """Load the source and prepare every member's data.

    Raises:
        InputError: If source, task and model do not match, or a table is wrong.
    """
    check_model(config)
    choose_device(config.engine.device)  # a wrong device is refused before minutes of loading
    apart = mechanism_for(config.privacy).private
    return prepare_data(config, load(config.data, apart=apart))


def prepare_data(config: RunConfig, data: RetailData, *, go_on: str = _GO_ON) -> Prepared:
    """Prepare every member's data from tables that are already loaded.

    Args:
        config: The run's configuration.
        data: The tables.
        go_on: What an error says to do, with `{task}`, where too few members have enough data.

    Raises:
        InputError: If source, task and model do not match, or too few members have enough data.
    """
    task = create_task(config)
    facts = task.agree(common_data(config.data, lambda: data))
    members = tuple(able_or_not(task, tables, facts) for tables in data.members)
    _check_enough(config, members, go_on)
    _check_dropouts(config, tuple(member.name for member in members))
    digests = DataDigests.of(data)
    vocabulary = vocabulary_of(config, facts, data.products)
    if not config.goes_on:
        check_warm_start(config.warm_start, digests.agreed)
    shared = starting_model(config, task, facts, vocabulary)
    check_noise(config, len(members), len(shared))
    check_provable(config.secure.norm)
    earlier = carrier_of(config, task, facts, vocabulary)
    return Prepared(config, task, facts, members, shared, digests, vocabulary, earlier)


def _check_enough(config: RunConfig, members: Sequence[MemberData], go_on: str) -> None:
    """Refuse a run that too few members can take part in; all that cannot are named.

    Raises:
        InputError: If there are too few.
    """
    thin = [one.reason for one in members if isinstance(one, UnableMember)]
    able = len(members) - len(thin)
    if able >= config.cohort.minimum:
        return
    few = f"{able} member(s) have data, but cohort.minimum is {config.cohort.minimum}"
    if not thin:
        raise InputError(few)
    end = f"; {go_on.format(task=config.task)}" if go_on else ""
    raise InputError(f"{'; '.join(thin)} ({few}{end})")


def _check_dropouts(config: RunConfig, names: tuple[str, ...]) -> None:
    """Refuse a simulated dropout of a member that the data do not have.

    Raises:
        ConfigError: If there is one: a run would look as if a dropout had done no harm.
    """
    for one in config.simulation.dropouts:
        if one.member not in names:
            raise ConfigError(
                f"simulation.dropouts: no member '{one.member}'{nearest(one.member, names)}"
            )


def check_noise(config: RunConfig, members: int, dimension: int) -> None:
    """Refuse a mechanism that cannot keep to the budget, before a member is charged.

    Raises:
        ConfigError: If it cannot, or if its noise would leave nothing to learn.
    """
    mechanism_for(config.privacy).check(config, members, dimension)
