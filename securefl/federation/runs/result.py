"""A run's result: the content of `result.json` and of `--format json`.

Field names of these classes are keys of that JSON, and so are frozen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from securefl.errors import RunDirectoryError
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.scores.statement import ReleasedScores
from securefl.privacy.statement import MemberPrivacy, RunPrivacy
from securefl.tasks.served.start_change import StartChange
from securefl.untrusted.documents import parse_json


def round_cost(record: RoundRecord) -> RoundCost:
    """Return the cost of a round."""
    return RoundCost(
        round=record.round,
        seconds=record.seconds,
        survivors=record.survivors,
        bytes_up=record.bytes_up,
        bytes_down=record.bytes_down,
        epsilon=record.epsilon,
    )


def run_refusals(
    whole_run: Mapping[str, str], records: Sequence[RoundRecord]
) -> tuple[Refusal, ...]:
    """Return the refusals of the run, and then those of rounds, the first of each member.

    Args:
        whole_run: Member to reason.
        records: The rounds.
    """
    found = {name: Refusal(name, 0, reason) for name, reason in whole_run.items()}
    for record in records:
        for name, reason in record.refused.items():
            found.setdefault(name, Refusal(name, record.round, reason))
    return tuple(found.values())


def members_left_out(records: Sequence[RoundRecord]) -> tuple[LeftOut, ...]:
    """Return the members that are missing from sums, in the order in which they first were."""
    found: dict[str, list[tuple[int, str]]] = {}
    for record in records:
        for name, reason in record.left_out.items():
            found.setdefault(name, []).append((record.round, reason))
    return tuple(
        LeftOut(name, tuple(number for number, _ in rounds), rounds[0][1])
        for name, rounds in found.items()
    )


def round_votes(records: Sequence[RoundRecord]) -> tuple[RoundVote, ...]:
    """Return all votes that were held, in the order of their rounds."""
    return tuple(
        RoundVote(one.round, one.vote.rejected, one.vote.reasons, one.vote.absent)
        for one in records
        if one.vote is not None
    )


def unscored_rounds(records: Sequence[RoundRecord]) -> tuple[Unscored, ...]:
    """Return the rounds whose scores failed, by reason, in the order in which they first did."""
    found: dict[str, list[int]] = {}
    for record in records:
        if record.unscored:
            found.setdefault(record.unscored, []).append(record.round)
    return tuple(Unscored(tuple(rounds), reason) for reason, rounds in found.items())


Numbers = dict[str, float]


@dataclass(frozen=True)
class MemberResult:
    """One retailer's part.

    Attributes:
        name: The member's name.
        samples: Number of its training samples, its FedAvg weight; None under masks or a budget,
            where no count leaves a member, and over a network.
        metrics: Arm (`federated`, `alone`, `baseline`, ...) to metric to number, on its test cases.
    """

    name: str
    samples: int | None
    metrics: dict[str, Numbers]


@dataclass(frozen=True)
class Refusal:
    """The refusal of a retailer whose own policy or budget forbids a request.

    Attributes:
        member: Its name.
        round: The first round that it refused; 0 for the whole run.
        reason: The rule, as text.
    """

    member: str
    round: int
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """A retailer that was asked in rounds whose sums it is not in.

    Attributes:
        member: Its name.
        rounds: The numbers of these rounds.
        reason: Why it is not in the first of them, as text.
    """

    member: str
    rounds: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class RoundVote:
    """The members' vote on a round's model.

    Attributes:
        round: The round.
        rejected: Whether its model was rejected.
        said: How many members said what, and who said nothing, as text.
        absent: The members that gave no ballot.
    """

    round: int
    rejected: bool
    said: str
    absent: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The vote as text."""
        verdict = "rejected" if self.rejected else "accepted"
        return f"round {self.round} {verdict}: {self.said}"


@dataclass(frozen=True)
class Unscored:
    """Rounds whose sum of scores failed, so that none of them can be the best one.

    Attributes:
        rounds: Their numbers.
        reason: Why, as text.
    """

    rounds: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class RoundCost:
    """The cost of a round.

    Attributes:
        round: Its number, from 1.
        seconds: Wall time.
        survivors: The members whose updates are in the sum.
        bytes_up: Member to bytes that it sent in training and evaluation.
        bytes_down: Member to bytes that it received in training and evaluation.
        epsilon: The largest epsilon that a member had spent by then; None without a budget.
    """

    round: int
    seconds: float
    survivors: tuple[str, ...]
    bytes_up: dict[str, int]
    bytes_down: dict[str, int]
    epsilon: float | None


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        task: Name of the task.
        mode: `plain`, or how the updates were protected.
        seed: The run's seed.
        rounds: Rounds done.
        best_round: The round that was best on validation; its model is the result.
        members: The retailers in roster order.
        seconds: Wall time of this process's part of the run.
        metrics: Arm to metric to number over all retailers' test cases.
        privacy: The privacy guarantee; None without differential privacy.
        run_dir: The run's directory.
        refusals: The members' refusals.
        left_out: The members that are missing from sums, and why.
        history: The cost of each round.
        ledger: File of the coordinator's log of all members' signed entries.
        scores: The scores over all members that every party sees, with their standard errors under
            a budget; None in mode `plain` without one.
        simulation_only: The arms of `metrics` that only a simulation can see.
        start: The model that the run went on from; None where it began anew.
        unscored: The rounds whose scores failed.
        votes: The members' votes on the rounds' models; none where none was agreed.
        discloses: What all parties saw of single customers; see `RunConfig.discloses`.
        agreed_rounds: Rounds that were agreed, where the agreed patience ended training before the
            last of them; None where all were done.
    """

    task: str
    mode: str
    seed: int
    rounds: int
    best_round: int
    members: tuple[MemberResult, ...]
    seconds: float
    metrics: dict[str, Numbers]
    privacy: RunPrivacy | None
    run_dir: str
    refusals: tuple[Refusal, ...] = ()
    history: tuple[RoundCost, ...] = ()
    ledger: str = ""
    scores: ReleasedScores | None = None
    simulation_only: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    start: StartChange | None = None
    unscored: tuple[Unscored, ...] = ()
    votes: tuple[RoundVote, ...] = ()
    discloses: tuple[str, ...] = ()
    agreed_rounds: int | None = None

    @property
    def in_no_sum(self) -> tuple[str, ...]:
        """The members whose customers the shared model has learned nothing from."""
        summed = {name for cost in self.history for name in cost.survivors}
        return tuple(member.name for member in self.members if member.name not in summed)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; a metric without a case is null."""
        plain: dict[str, Any] = json_ready(asdict(self))
        # A run that began anew, was scored throughout, held no vote, disclosed nothing more and did
        # all rounds has the keys of before.
        for key in ("start", "unscored", "votes", "discloses", "agreed_rounds"):
            if not plain[key]:
                del plain[key]
        return plain


def result_from_json(text: str, path: Path) -> RunResult:
    """Return the result in a text of `RunResult.to_json`.

    Raises:
        RunDirectoryError: If the text is not of this kind.
    """
    try:
        fields = parse_json(text, str(path), error=RunDirectoryError)
        members = tuple(
            MemberResult(m["name"], m["samples"], _numbers(m["metrics"])) for m in fields["members"]
        )
        fields |= {"members": members, "metrics": _numbers(fields["metrics"])}
        fields["privacy"] = _privacy(fields["privacy"])
        fields["refusals"] = tuple(Refusal(**refusal) for refusal in fields["refusals"])
        scores = fields.get("scores")
        fields["scores"] = None if scores is None else ReleasedScores.from_json(scores)
        fields["simulation_only"] = tuple(fields.get("simulation_only", ()))
        fields["left_out"] = tuple(
            LeftOut(**(left | {"rounds": tuple(left["rounds"])}))
            for left in fields.get("left_out", ())
        )
        start = fields.get("start")
        fields["start"] = None if start is None else StartChange(**start)
        fields["unscored"] = tuple(
            Unscored(**(missing | {"rounds": tuple(missing["rounds"])}))
            for missing in fields.get("unscored", ())
        )
        fields["votes"] = tuple(
            RoundVote(**(vote | {"absent": tuple(vote["absent"])}))
            for vote in fields.get("votes", ())
        )
        fields["discloses"] = tuple(str(said) for said in fields.get("discloses", ()))
        fields["history"] = tuple(_round_cost(cost) for cost in fields["history"])
        return RunResult(**fields)
    except (ValueError, TypeError, KeyError):
        raise RunDirectoryError(f"{path} is damaged: no result of a run") from None


def _round_cost(fields: dict[str, Any]) -> RoundCost:
    return RoundCost(**(fields | {"survivors": tuple(fields["survivors"])}))


def _privacy(fields: dict[str, Any] | None) -> RunPrivacy | None:
    if fields is None:
        return None
    members = tuple(MemberPrivacy(**member) for member in fields["members"])
    return RunPrivacy(**(fields | {"members": members}))


def _numbers(arms: Mapping[str, Mapping[str, float | None]]) -> dict[str, Numbers]:
    return {
        arm: {name: math.nan if value is None else value for name, value in metrics.items()}
        for arm, metrics in arms.items()
    }


def json_ready(value: Any) -> Any:  # noqa: ANN401 - walks a JSON tree
    """Return a tree with None in the place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: json_ready(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
