"""A member's privacy policy: which runs it joins, and the lifetime budget of its data.

The policy belongs to the member and not to the consortium. It is enforced on the member's machine,
before any data are read, whatever the coordinator requests.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from securefl.config.base import Settings
from securefl.config.cohort import cohort_size
from securefl.config.load import nearest, read_toml
from securefl.config.privacy import Probability, Protection, Unit, protecting, protects
from securefl.config.schema import Mode, RunConfig, TaskName
from securefl.consortium.ledger.events import Refusal, RefusalReason
from securefl.consortium.ledger.hash_chain import canonical
from securefl.errors import ConfigError
from securefl.untrusted.text import fault
from securefl_protocols.session.graph import default_threshold
from securefl_protocols.wire.context import labelled_digest

POLICY_LABEL = b"securefl/1/policy"


class CapSettings(Settings):
    """Lifetime cap of a privacy unit of a data set, over all runs and tasks."""

    epsilon: PositiveFloat
    delta: Probability


class Policy(Settings):
    """A policy file; docs/explanation/ledger.md explains each key.

    Attributes:
        version: Version of this format.
        data_set: The member's name for its data set. The cap applies to the name, so that
            tables with one more row still count as the same data.
        cap: Cap for each privacy unit.
        tasks: Allowed tasks, "analytics" among them; all if not given.
        units: Allowed privacy units; those with a cap if not given.
        modes: Allowed aggregation modes.
        dp: Allowed differential-privacy modes.
        least_members: Smallest allowed cohort.
        least_threshold: Smallest allowed threshold of shares that unmask a sum.
        retention_days: Entries of ended runs are deleted from the ledger after so many days.
            Charges are never deleted.
    """

    version: Literal[1]
    data_set: Annotated[str, Field(min_length=1, max_length=200)]
    cap: dict[Unit, CapSettings] = Field(default_factory=dict)
    tasks: tuple[TaskName | Literal["analytics"], ...] | None = None
    units: tuple[Unit, ...] | None = None
    modes: tuple[Mode, ...] = ("secure",)
    dp: tuple[Protection, ...] = Field(default_factory=protecting)
    least_members: PositiveInt = 3
    least_threshold: PositiveInt = 2
    retention_days: PositiveInt | None = None

    @model_validator(mode="after")
    def _cap_that_binds(self) -> Self:
        # One update without noise has no finite epsilon, and no cap could account for it.
        if not all(map(protects, self.dp)) and self.cap:
            raise ValueError("dp: a cap binds nothing where 'none' is allowed")
        if any(map(protects, self.dp)) and not self.cap:
            raise ValueError("cap: state what a unit may lose ([cap.customer])")
        missing = [unit for unit in self.units or () if unit not in self.cap]
        if missing:
            raise ValueError(f"units: '{missing[0]}' has no cap ([cap.{missing[0]}])")
        return self

    def oldest_kept(self) -> datetime | None:
        """Return the time before which entries of ended runs are deleted; None keeps all."""
        if self.retention_days is None:
            return None
        return datetime.now(UTC) - timedelta(days=self.retention_days)

    def refusal(self, config: RunConfig, members: int, task: str | None = None) -> Refusal | None:
        """Return the refusal of a run by this policy; None where the run is allowed.

        Args:
            config: The agreed configuration.
            members: Number of members of the consortium.
            task: Name of what is run where it is not a training task.
        """
        asked = config.privacy
        cohort = cohort_size(config.cohort, members)
        threshold = default_threshold(cohort) if config.mode == "secure" else None
        if self.tasks is not None and (task or config.task) not in self.tasks:
            return refuse("task")
        if config.mode not in self.modes:
            return refuse("mode")
        if asked.dp not in self.dp:
            return refuse("dp")
        if cohort < self.least_members:
            return refuse("members", asked=cohort, allowed=self.least_members)
        if threshold is not None and threshold < self.least_threshold:
            return refuse("threshold", asked=threshold, allowed=self.least_threshold)
        return self._budget_refusal(config) if protects(asked.dp) else None

    def _budget_refusal(self, config: RunConfig) -> Refusal | None:
        unit, delta = config.privacy.unit, config.privacy.delta
        allowed = self.units if self.units is not None else tuple(self.cap)
        if unit not in allowed:
            return refuse("unit")
        if delta > self.cap[unit].delta:
            return refuse("delta", asked=delta, allowed=self.cap[unit].delta)
        return None


def refuse(
    reason: RefusalReason,
    *,
    number: int = 0,
    asked: float | None = None,
    allowed: float | None = None,
) -> Refusal:
    """Return a refusal of a round, or of the whole run if no round is given."""
    return Refusal(round=number, reason=reason, asked=asked, allowed=allowed)


_REASONS: dict[RefusalReason, str] = {
    "budget": "the budget is spent: epsilon would be {asked:.3f} of {allowed:g}",
    "cap": "the cap of its policy: epsilon would be {asked:.3f} of {allowed:g} in its data's life",
    "task": "its policy does not allow the task",
    "mode": "its policy does not allow the mode",
    "dp": "its policy does not allow this kind of protection",
    "unit": "its policy does not allow this privacy unit",
    "members": "{asked:g} members are fewer than the {allowed:g} of its policy",
    "threshold": "a threshold of {asked:g} is lower than the {allowed:g} of its policy",
    "delta": "delta {asked:g} is larger than the {allowed:g} of its policy",
    "data": "it has too few data for the task",
}


def in_words(refusal: Refusal) -> str:
    """Return a user-facing message for a refusal, with the requested and the allowed number."""
    return _REASONS[refusal.reason].format(asked=refusal.asked, allowed=refusal.allowed)


def load_policy(path: Path) -> Policy:
    """Read a policy from a TOML file.

    Raises:
        ConfigError: If it cannot be read, or does not validate; one line that names the key.
    """
    try:
        return Policy.model_validate(read_toml(path))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from None


def policy_of(place: Path | None, member: str) -> Policy | None:
    """Read a member's policy from a file for all, or a folder with one `<member>.toml` each.

    Raises:
        ConfigError: If the file does not exist or does not validate.
    """
    if place is None:
        return None
    return load_policy(place / f"{member}.toml" if place.is_dir() else place)


def policy_digest(policy: Policy) -> str:
    """Return the digest of a policy's RFC 8785 JSON with every default filled in."""
    return labelled_digest(POLICY_LABEL, canonical(policy)).hex()


def _explain(error: ValidationError) -> str:
    # A misspelt key is reported twice, as unknown and as missing; the former tells how to fix it.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    path = [str(part) for part in first["loc"] if part != "[key]"]
    if first["type"] == "extra_forbidden":
        known = CapSettings if path[0] == "cap" else Policy
        return f"unknown key '{'.'.join(path)}'{nearest(path[-1], tuple(known.model_fields))}"
    return f"{'.'.join(path) or 'policy'}: {fault(first)}"
