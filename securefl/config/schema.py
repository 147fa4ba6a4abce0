"""The configuration of one run. `securefl config show` prints it with every default filled in."""

from datetime import datetime
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializationInfo,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from securefl.config.base import NamedSettings, Settings
from securefl.config.combinations import excluded
from securefl.config.data import DataSettings, FilesSettings
from securefl.config.privacy import PrivacySettings
from securefl.config.schedule import Period, ScheduleSettings
from securefl.config.task_registry import TASKS, declaration
from securefl.config.vote import VoteSettings


def _known_task(name: str) -> str:
    if name not in TASKS:
        raise ValueError(f"'{name}' is none of {', '.join(TASKS)}")
    return name


TaskName = Annotated[str, AfterValidator(_known_task)]
Mode = Literal["plain", "secure"]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Decay = Annotated[float, Field(ge=0.0, lt=1.0)]


class TrainingSettings(Settings):
    """How a member trains between two rounds."""

    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: PositiveFloat = 0.001
    weight_decay: NonNegativeFloat = 0.0
    momentum: Decay = Field(0.0, description="Of SGD; Adam has its own.")
    batch_size: PositiveInt = 128
    local_epochs: PositiveInt = 2
    gradient_clip: PositiveFloat | None = Field(
        None, description="Cap on the norm of a batch's gradient; no privacy follows from it."
    )
    proximal_mu: NonNegativeFloat = Field(
        0.0, description="FedProx (Li et al. 2020): pull towards the round's shared model."
    )
    optimizer_state: Literal["keep", "reset"] = Field(
        "keep", description="What happens to the member's optimizer state between rounds."
    )


class ServerSettings(Settings):
    """How the weighted mean of the members' changes moves the shared model (Reddi et al. 2021)."""

    optimizer: Literal["fedavg", "fedavgm", "fedadam"] = "fedavg"
    learning_rate: PositiveFloat = 1.0
    momentum: Decay = 0.9
    second_moment: Decay = 0.99
    epsilon: PositiveFloat = 1e-3


class CohortSettings(Settings):
    """Who takes part in a round."""

    fraction: Share = 1.0
    minimum: PositiveInt = Field(
        3, description="Fewest members in a round; a masked sum of fewer than 3 hides nobody."
    )


class SecureSettings(Settings):
    """What the members agree on for mode `secure`; docs/specification/protocol.md explains each."""

    limit: PositiveFloat = Field(
        8.0,
        description="Largest change of a parameter in a round; beyond it a member refuses to send.",
    )
    norm: PositiveFloat | None = Field(
        None,
        description="Largest Euclidean norm of a member's change in a round, which each member"
        " proves to all (needs securefl[proofs]); a longer change is scaled down to it. None proves"
        " nothing.",
    )
    max_samples: PositiveInt = Field(1 << 20, description="Largest sample count of a member.")
    min_samples: NonNegativeInt = Field(
        0,
        description="Smallest sample count of a member; one with fewer refuses to send. The closer"
        " to the largest, the sooner 32 bits suffice.",
    )
    expected_samples: NonNegativeInt = Field(
        0,
        description="Sample count of a member that lanes are chosen for. Nothing is refused below"
        " it; the error grows in proportion.",
    )
    bits: Literal["auto", 16, 24, 32, 64] = Field(
        "auto",
        description="Width of a masked coordinate, its lane; auto takes the fewest that are exact"
        " enough, and under noise shares the fewest that hold the noise.",
    )
    rounding: Literal["auto", "nearest", "random"] = Field(
        "auto",
        description="How a coordinate becomes an integer; random is unbiased, with a secret key of"
        " the member's own; auto is random for 16 bits. Refused under noise shares.",
    )
    tolerance: PositiveFloat | None = Field(
        None,
        description="Largest error that lanes may leave in a parameter's mean change, whatever the"
        " sample counts turn out to be; auto takes 64 bits where 32 could leave more. With none"
        " agreed it takes 24 where they cost next to nothing, and 32 else.",
    )
    rounds_per_session: PositiveInt = Field(
        64, description="Rounds that one key agreement serves; with 1, keys are new every round."
    )
    attempts: PositiveInt = Field(
        2, description="How often a round is tried, each time with fresh keys."
    )
    repeats: NonNegativeInt = Field(
        3,
        description="How often a round whose sum failed its checksum is repeated, with the same"
        " updates and survivors under fresh keys; then the run stops.",
    )

    @property
    def rounds_at_random(self) -> bool:
        """Whether members round at random."""
        return self.rounding == "random" or (self.rounding == "auto" and self.bits == 16)


class LedgerSettings(Settings):
    """What is kept for an auditor beside the ledger itself; docs/explanation/ledger.md."""

    transcript_mebibytes: NonNegativeInt = Field(
        128,
        description="Room for the newest transcripts of masked sums, from which an auditor"
        " recomputes them; 0 keeps none.",
    )


class Dropout(Settings):
    """A member that vanishes in the middle of a round, to see what happens then."""

    member: str
    round: PositiveInt
    step: Literal["keys", "shares", "masked-input", "consistency", "unmask"]


class SimulationSettings(Settings):
    """What only a run on one machine can have."""

    dropouts: tuple[Dropout, ...] = ()


class ReferenceSettings(Settings):
    """What the federation is compared with; each arm is tuned on its own validation data."""

    enabled: bool = True
    alone: TrainingSettings = TrainingSettings()
    pooled: TrainingSettings = TrainingSettings()


class StartSettings(Settings):
    """The earlier model that training goes on from: the part that all members agree on."""

    model: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="Digest of that model, as securefl run --from prints it; none starts anew.",
    )
    removed: Literal["drop", "keep"] = Field(
        "drop",
        description="What becomes of products that the model knows and this month has not: keep"
        " takes their rows along, for the month in which they come back.",
    )


LOCAL_ENGINE = "local"
ENGINES = "securefl.engines"
"""The group of entry points under which an installed distribution registers its engines."""


class EngineSettings(Settings):
    """What carries the messages, and on what the members compute."""

    name: str = LOCAL_ENGINE
    workers: NonNegativeInt = Field(
        0, description="Processes that host members; 0 takes one a core where it pays."
    )
    device: Literal["auto", "cpu", "cuda"] = "cpu"

    @field_validator("name")
    @classmethod
    def _is_registered(cls, name: str) -> str:
        # The names of other engines are read and not their code: no configuration imports any.
        if name != LOCAL_ENGINE:
            names = (LOCAL_ENGINE, *sorted(entry_points(group=ENGINES).names))
            if name not in names:
                raise ValueError(f"input should be {' or '.join(map(repr, names))}")
        return name


CUTS = "cuts"
"""The field behind the section that is called as the task is."""


class RunConfig(Settings):
    """Everything that fixes a run's result.

    What `model` and the task's own section may hold, the task declares.
    """

    task: TaskName
    mode: Mode = Field("secure", description="How the members' updates are protected.")
    seed: NonNegativeInt = 0
    rounds: PositiveInt = 20
    patience: PositiveInt | None = Field(
        None,
        description="Rounds end after so many of which none was better on validation than the best"
        " before them; none runs them all. Refused under a budget.",
    )
    data: DataSettings
    model: SerializeAsAny[NamedSettings]
    cuts: SerializeAsAny[Settings] = Field(
        description="How the task cuts its data; the section is called as the task is."
    )
    training: TrainingSettings = TrainingSettings()
    server: ServerSettings = ServerSettings()
    cohort: CohortSettings = CohortSettings()
    secure: SecureSettings = SecureSettings()
    privacy: PrivacySettings = PrivacySettings()
    vote: VoteSettings | None = Field(
        None,
        description="Members vote on each new model; none holds no vote. In mode secure without a"
        " budget alone.",
    )
    ledger: LedgerSettings = LedgerSettings()
    simulation: SimulationSettings = SimulationSettings()
    references: ReferenceSettings = ReferenceSettings()
    engine: EngineSettings = EngineSettings()
    warm_start: str | None = Field(
        None,
        description="A model.safetensors of an earlier run on the same catalogue that training"
        " starts from; with start.model, the run or the model's folder that it is the digest of.",
    )
    start: StartSettings | None = Field(
        None, description="The earlier model that all members agree to go on from."
    )
    schedule: ScheduleSettings | None = Field(
        None, description="Further runs that the agreement allows, each over later days."
    )

    @property
    def goes_on(self) -> bool:
        """Whether training goes on from an earlier model that was agreed."""
        return self.start is not None and self.start.model is not None

    @property
    def discloses(self) -> tuple[str, ...]:
        """What parties see of single customers because no noise was agreed; see `NamedSettings`."""
        return self.model.discloses() if self.privacy.dp == "none" else ()

    @property
    def period(self) -> Period | None:
        """The agreed first and last day of the data; None where none were agreed."""
        return self.data.period if isinstance(self.data, FilesSettings) else None

    def scheduled(self, number: int) -> Self:
        """Return the configuration of a run of the schedule; without a schedule, this one.

        The agreed earlier model is run 1's alone: each later one goes on from the one before it.

        Args:
            number: Number of the run, from 1 on.
        """
        if self.schedule is None or self.period is None:
            return self
        days = self.schedule.period(self.period, number)
        data = self.data.model_copy(update={"period": days})
        start = self.start if number == 1 else None
        return self.model_copy(update={"data": data, "start": start})

    def due(self, number: int) -> datetime | None:
        """Return when a run of the schedule may begin, in UTC; None without a schedule."""
        if self.schedule is None or self.period is None:
            return None
        return self.schedule.due(self.period, number)

    @model_validator(mode="before")
    @classmethod
    def _own_section(cls, tree: Any) -> Any:  # noqa: ANN401 - whatever was given
        """A file may hold the sections of several tasks; those of others are only checked."""
        if not isinstance(tree, dict) or tree.get("task") not in TASKS:
            return tree
        if CUTS in tree:
            raise ValueError(f"unknown key '{CUTS}'; did you mean '{tree['task']}'?")
        for other in set(TASKS) & tree.keys() - {tree["task"]}:
            declaration(other).split_settings.model_validate(tree[other])
        kept = {name: part for name, part in tree.items() if name not in TASKS}
        return kept | {CUTS: tree.get(tree["task"], {})}

    @field_validator("model", CUTS, mode="before")
    @classmethod
    def _as_declared(cls, section: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - as above
        if "task" not in info.data or isinstance(section, Settings):
            return section
        declared = declaration(info.data["task"])
        if info.field_name == CUTS:
            return declared.split_settings.model_validate(section)
        return declared.model_adapter.validate_python(section)

    @model_validator(mode="after")
    def _of_its_task(self) -> Self:
        declared = declaration(self.task)
        choice = declared.choice(self.model.name)
        if choice is None or not isinstance(self.model, choice.settings):
            raise ValueError(f"model.name: task '{self.task}' has no model '{self.model.name}'")
        if type(self.cuts) is not declared.split_settings:
            raise ValueError(f"{self.task}: these are settings of another task")
        if (why := choice.misfit(self.model, budget=self.privacy.dp != "none")) is not None:
            raise ValueError(f"model.{why}")
        return self

    @model_serializer(mode="wrap")
    def _by_task(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        del info
        tree: dict[str, Any] = handler(self)
        return {self.task if name == CUTS else name: part for name, part in tree.items()}

    @model_validator(mode="after")
    def _not_excluded(self) -> Self:
        if (why := excluded(self)) is not None:
            raise ValueError(why)
        return self
