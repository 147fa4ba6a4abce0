"""What coordinator and members send each other about models, scores and the run itself.

Class names are private to this code: on the wire, the frozen `kind` alone names a message.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from securefl.federation.messages.base import Message

SplitName = Literal["train", "validation", "test"]
RatioFields = tuple[float, float, bool]
TallyFields = dict[str, RatioFields]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=1)]


class Train(Message):
    """Coordinator to member: train on this shared model and answer with an `Update`."""

    kind: Literal["train"] = "train"
    round: NonNegativeInt
    shared: bytes


class Update(Message):
    """Member to coordinator, mode `plain`: its update in the clear.

    Attributes:
        samples: Sample count, the weight in FedAvg.
        change: Change of the shared parameters, float32 [d].
        loss: Mean training loss.
    """

    kind: Literal["update"] = "update"
    round: NonNegativeInt
    samples: NonNegativeInt
    change: bytes
    loss: float


class TrainMasked(Message):
    """Coordinator to member, mode `secure`: train, and enter the round's masked sum.

    Attributes:
        shared: The shared model, float32 [d].
        cohort: The members of the session, in roster order.
        session: Number of the session; a new number starts one with fresh keys.
        proof: Signatures under the end of the round before, for a member that did not verify its
            sum; see `model_proofs.py`. Empty for one that did.
        moments: With a proof, the server optimizer's moments after that round; empty for FedAvg.
    """

    kind: Literal["train-masked"] = "train-masked"
    round: NonNegativeInt
    shared: bytes
    cohort: tuple[str, ...]
    session: NonNegativeInt
    proof: bytes = b""
    moments: bytes = b""


class SumVerified(Message):
    """Member to coordinator, mode `secure`: the sum was verified, and this is what follows from it.

    Attributes:
        signature: The member's signature under the end of the round, as it computed it.
    """

    kind: Literal["sum-verified"] = "sum-verified"
    round: PositiveInt
    signature: Annotated[bytes, Field(min_length=64, max_length=64)]


class QueryRequest(Message):
    """Coordinator to member: answer a query about your customers, only in a masked sum.

    Attributes:
        query: Canonical JSON of the query.
        cohort: The members of the session, in roster order.
    """

    kind: Literal["ask"] = "ask"
    query: bytes
    cohort: tuple[str, ...]


class Protocol(Message):
    """Either way, mode `secure`: one message of the secure-aggregation session."""

    kind: Literal["protocol"] = "protocol"
    round: NonNegativeInt
    payload: bytes


class ScoreRequest(Message):
    """Coordinator to member: enter the masked sum of scores that was agreed.

    Attributes:
        number: Number of the sum: one more than the rounds of the run.
        shared: The shared model that is scored, float32 [d].
        cohort: The members of the session, in roster order.
        proof: Signatures under the end of the round with this number, for a member that did not
            verify its sum; empty for one that did.
    """

    kind: Literal["release-scores"] = "release-scores"
    number: NonNegativeInt
    shared: bytes
    cohort: tuple[str, ...]
    proof: bytes = b""


class ScoreProtocol(Message):
    """Either way: one message of the session in which scores are summed."""

    kind: Literal["score-protocol"] = "score-protocol"
    round: NonNegativeInt
    payload: bytes


class VoteRequest(Message):
    """Coordinator to member: vote on the model that a round ended with, where that was agreed.

    Attributes:
        shared: That model, float32 [d].
        proof: Signatures under the end of the round, for a member that did not verify its sum;
            empty for one that did.
    """

    kind: Literal["vote"] = "vote"
    round: PositiveInt
    shared: bytes
    proof: bytes = b""


class Ballot(Message):
    """Member to coordinator: its vote.

    Attributes:
        ballot: One of `judgement.BALLOTS`.
        signature: The member's, under the ballot, the round and its model; see `ballots.py`.
    """

    kind: Literal["ballot"] = "ballot"
    round: PositiveInt
    ballot: Annotated[str, Field(max_length=40)]
    signature: Annotated[bytes, Field(min_length=64, max_length=64)]


class Evaluate(Message):
    """Coordinator to member, mode `plain`: score this shared model on a split.

    Attributes:
        kept: Whether to use the local parameters of the kept round instead of the present ones.
    """

    kind: Literal["evaluate"] = "evaluate"
    round: NonNegativeInt
    shared: bytes
    split: SplitName
    kept: bool


class BaselineRequest(Message):
    """Coordinator to member, mode `plain`: score the baseline on a split."""

    kind: Literal["naive"] = "naive"
    split: SplitName


class Scores(Message):
    """Member to coordinator: the requested metric sums, by retailer."""

    kind: Literal["scores"] = "scores"
    tallies: dict[str, TallyFields]


class Keep(Message):
    """Coordinator to member: this round is the best so far; keep its local parameters."""

    kind: Literal["keep"] = "keep"
    round: NonNegativeInt


class LocalOnlyRequest(Message):
    """Coordinator to member, mode `plain`: train without the federation, as a baseline.

    Attributes:
        shared: The agreed start, float32 [d].
    """

    kind: Literal["train-alone"] = "train-alone"
    shared: bytes


class LocalOnlyResult(Message):
    """Member to coordinator: the local-only baseline's scores at its best validation round."""

    kind: Literal["alone"] = "alone"
    best_round: NonNegativeInt
    tallies: dict[str, TallyFields]


class Deliver(Message):
    """Coordinator to member: this round's model is the run's result; nothing of it is sent back.

    Attributes:
        shared: The shared model that the round ended with, float32 [d].
        proof: Signatures under the end of the round, for a member that did not verify its sum.
    """

    kind: Literal["deliver"] = "deliver"
    round: NonNegativeInt
    shared: bytes
    proof: bytes = b""


class Save(Message):
    """Coordinator to member: make your state durable under this round's number."""

    kind: Literal["save"] = "save"
    round: NonNegativeInt


class Restore(Message):
    """Coordinator to member: go back to the state saved under this round's number."""

    kind: Literal["restore"] = "restore"
    round: NonNegativeInt


class BudgetRequest(Message):
    """Coordinator to member, under differential privacy: report the spent budget."""

    kind: Literal["spend"] = "spend"


class BudgetResponse(Message):
    """Member to coordinator: its privacy account; nothing in it depends on data.

    Attributes:
        epsilon: Spent in this run.
        customer_epsilon: Epsilon for a whole customer; None where no bound is known.
        two_retailers_epsilon: For a customer of two retailers under shared noise; None without.
        life: Spent over the life of the data, this run included, at the run's delta.
        cap: Allowed over the life of the data at `cap_delta`; None without a policy.
        score_noise: Noise multiplier of the scores; None where none were released.
    """

    kind: Literal["spent"] = "spent"
    epsilon: Amount
    noise_multiplier: Amount
    clip_norm: Amount
    sampling_rate: Rate
    steps: NonNegativeInt
    customer_epsilon: Amount | None
    two_retailers_epsilon: Amount | None
    life: Amount
    cap: Amount | None
    cap_delta: Rate | None
    score_noise: Amount | None


class CacheMiss(Message):
    """Member to coordinator, over a network: the named model is not here; send it."""

    kind: Literal["lacking"] = "lacking"


class Shutdown(Message):
    """Coordinator to member, over a network: no more requests; erase the run's secrets.

    Attributes:
        reason: Why the run stopped before its end; empty where it is over.
    """

    kind: Literal["leave"] = "leave"
    reason: str = ""


class Done(Message):
    """Member to coordinator: a request without a result is carried out."""

    kind: Literal["done"] = "done"


class Absent(Message):
    """From the transport, for a member: it has dropped out of this round and will not answer."""

    kind: Literal["absent"] = "absent"


class Failure(Message):
    """Member to coordinator: the request failed, with the error's `wire_name` and one line.

    Attributes:
        blames: The member whose part in a session's message it was that failed; empty where none.
    """

    kind: Literal["failure"] = "failure"
    error: str
    text: str
    blames: str = ""
