"""All that a member answers: one table for each kind of member.

A row says in which phase, under which protection, for which model and how often a question is
answered, and what the answer costs the member's customers. `answer_gate.py` holds a member to its
table, before the member does anything else: a new kind of message is refused until it has a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from securefl.config.schema import RunConfig
from securefl.federation import messages as m
from securefl.privacy.mechanisms import mechanism_for


class Phase(Enum):
    """Where a run stands, as far as this member knows from what it was asked and has answered."""

    BEFORE_START = "before the start"
    IN_ROUNDS = "in the rounds"
    ROUNDS_ENDED = "after the rounds"
    CLOSED = "after the end"


class Protection(Enum):
    """How what a member sends is protected, by the agreement."""

    PLAIN = "plain"
    MASKED = "masked"
    PLAIN_BUDGET = "plain under a budget"
    MASKED_BUDGET = "masked under a budget"

    @classmethod
    def of(cls, config: RunConfig) -> Protection:
        """Return the protection of an agreed configuration."""
        private = mechanism_for(config.privacy).private
        if config.mode == "plain":
            return cls.PLAIN_BUDGET if private else cls.PLAIN
        return cls.MASKED_BUDGET if private else cls.MASKED


class Model(Enum):
    """The one model that a question may bring; no member scores a model of another's choice."""

    NONE = "none"
    ROUND_START = "one a round, in ascending order; the first is the agreed start"
    VERIFIED = "the agreed start, or what follows from a sum that it verified or t members signed"
    ROUND_RESULT = "the one that a round of its own has ended with"
    CONCLUDED = "the one that a round ended with, by its own ledger or the signatures of t members"
    START = "the agreed start, which it recomputes"


class Often(Enum):
    """How often a question is answered in a run."""

    ONCE = "once"
    ONCE_A_ROUND = "once a round"
    AGAIN = "again, with nothing new"


class Price(Enum):
    """What an answer costs the member's customers."""

    NOTHING = "nothing leaves"
    PUBLIC = "public: no function of customers' data"
    CLEAR = "free: in the clear by agreement"
    MASKED = "free: only in a sum under masks"
    CHARGED = "charged to the budget before data are used"


@dataclass(frozen=True)
class Rule:
    """One row: a question that is answered.

    Attributes:
        question: The message.
        reply: The messages that answer it, besides `Refused` and `Failure`.
        phases: When it is answered.
        protections: Under which protections.
        price: What the answer costs.
        often: How often.
        model: Which model it may bring.
        variant: Fields that must have these values.
    """

    question: type[m.Message]
    reply: tuple[type[m.Message], ...]
    phases: frozenset[Phase]
    protections: frozenset[Protection]
    price: Price
    often: Often = Often.AGAIN
    model: Model = Model.NONE
    variant: tuple[tuple[str, object], ...] = ()

    def covers(self, request: m.Message) -> bool:
        """Return whether the row is about this question, in this variant."""
        return type(request) is self.question and all(
            getattr(request, name) == value for name, value in self.variant
        )


_ALL = frozenset(Protection)
_PLAIN = frozenset({Protection.PLAIN})
_PLAIN_BUDGET = frozenset({Protection.PLAIN_BUDGET})
_MASKED = frozenset({Protection.MASKED})
_MASKED_BUDGET = frozenset({Protection.MASKED_BUDGET})
_BUDGET = _PLAIN_BUDGET | _MASKED_BUDGET
_BEFORE = frozenset({Phase.BEFORE_START})
_ROUNDS = frozenset({Phase.IN_ROUNDS})
_ENDED = frozenset({Phase.ROUNDS_ENDED})
_CLOSED = frozenset({Phase.CLOSED})
_STARTED = _ROUNDS | _ENDED | _CLOSED
_ANY = frozenset(Phase)

ANSWERS: tuple[Rule, ...] = (
    # A coordinator that restarts asks for the start again, at any time; it gets signed entries.
    Rule(m.StartRun, (m.Entries,), _ANY, _ALL, Price.PUBLIC),
    Rule(m.Train, (m.Update,), _ROUNDS, _PLAIN, Price.CLEAR, model=Model.ROUND_START),
    Rule(m.Train, (m.Update,), _ROUNDS, _PLAIN_BUDGET, Price.CHARGED, model=Model.ROUND_START),
    Rule(m.TrainMasked, (m.Protocol,), _ROUNDS, _MASKED, Price.MASKED, model=Model.VERIFIED),
    Rule(
        m.TrainMasked,
        (m.Protocol,),
        _ROUNDS,
        _MASKED_BUDGET,
        Price.CHARGED,
        model=Model.VERIFIED,
    ),
    Rule(m.Protocol, (m.Protocol, m.SumVerified, m.Done), _ROUNDS, _MASKED, Price.MASKED),
    # What it carries was charged when the session's round was trained.
    Rule(m.Protocol, (m.Protocol, m.SumVerified, m.Done), _ROUNDS, _MASKED_BUDGET, Price.CHARGED),
    # Scores leave in sums over all members: of each round's model without a budget, and of the
    # result. Which sum of which model is entered, and each once, `ScoreParty` and the ledger check.
    Rule(
        m.ScoreRequest,
        (m.ScoreProtocol,),
        _ROUNDS | _ENDED,
        _MASKED,
        Price.MASKED,
        model=Model.VERIFIED,
    ),
    Rule(m.ScoreRequest, (m.ScoreProtocol,), _ENDED, _BUDGET, Price.CHARGED, model=Model.VERIFIED),
    Rule(m.ScoreProtocol, (m.ScoreProtocol, m.Done), _ROUNDS | _ENDED, _MASKED, Price.MASKED),
    Rule(m.ScoreProtocol, (m.ScoreProtocol, m.Done), _ENDED, _BUDGET, Price.CHARGED),
    # Where a vote was agreed, each member's own ballot leaves, signed: see `scores/ballots.py`.
    Rule(m.VoteRequest, (m.Ballot,), _ROUNDS, _MASKED, Price.CLEAR, model=Model.CONCLUDED),
    Rule(m.VoteRequest, (m.Ballot,), _ROUNDS, _MASKED_BUDGET, Price.CHARGED, model=Model.CONCLUDED),
    # Exact scores of a single member leave in mode `plain` without a budget, and nowhere else.
    Rule(
        m.Evaluate,
        (m.Scores,),
        _ROUNDS,
        _PLAIN,
        Price.CLEAR,
        Often.ONCE_A_ROUND,
        Model.ROUND_RESULT,
        (("split", "validation"), ("kept", False)),
    ),
    Rule(
        m.Evaluate,
        (m.Scores,),
        _ENDED,
        _PLAIN,
        Price.CLEAR,
        Often.ONCE,
        Model.CONCLUDED,
        (("split", "test"), ("kept", True)),
    ),
    Rule(
        m.BaselineRequest,
        (m.Scores,),
        _ENDED,
        _PLAIN,
        Price.CLEAR,
        Often.ONCE,
        variant=(("split", "test"),),
    ),
    Rule(
        m.LocalOnlyRequest,
        (m.LocalOnlyResult,),
        _ENDED,
        _PLAIN,
        Price.CLEAR,
        Often.ONCE,
        Model.START,
    ),
    Rule(m.Keep, (m.Done,), _ROUNDS, _ALL, Price.NOTHING),
    Rule(m.Save, (m.Done,), _ROUNDS, _ALL, Price.NOTHING),
    # Before the start, where a finished run is looked at again without writing to a ledger.
    Rule(m.Restore, (m.Done,), _BEFORE | _ROUNDS, _ALL, Price.NOTHING),
    Rule(m.BudgetRequest, (m.BudgetResponse,), _ROUNDS | _ENDED, _BUDGET, Price.PUBLIC),
    Rule(m.Conclude, (m.Entries,), _ROUNDS | _ENDED, _ALL, Price.PUBLIC),
    Rule(m.Conclude, (m.Entries,), _CLOSED, _ALL, Price.PUBLIC, model=Model.CONCLUDED),
    Rule(m.ShowHead, (m.Countersigned,), _STARTED, _ALL, Price.PUBLIC),
    # The member writes its predictions and its own figures, into its own folder.
    Rule(m.Deliver, (m.Done,), _ENDED, _ALL, Price.NOTHING, Often.AGAIN, Model.CONCLUDED),
    Rule(m.Finish, (m.Entries,), _ENDED | _CLOSED, _ALL, Price.PUBLIC),
)
"""What a member of a training run answers."""

REFUSING_ANSWERS: tuple[Rule, ...] = (
    Rule(m.StartRun, (m.Refused,), _ANY, _ALL, Price.PUBLIC),
    Rule(m.Finish, (m.Refused,), _ANY, _ALL, Price.PUBLIC),
    Rule(m.QueryRequest, (m.Refused,), _ANY, _ALL, Price.PUBLIC),
)
"""What a member answers whose policy forbids the run: the policy's refusal, read off no data.

Without a budget, one whose data are too few for the task answers the same, and says that they are.
"""

QUERY_ANSWERS: tuple[Rule, ...] = (
    Rule(
        m.QueryRequest,
        (m.Protocol,),
        _BEFORE | _ROUNDS,
        _MASKED_BUDGET,
        Price.PUBLIC,
        Often.ONCE,
    ),
    Rule(m.Protocol, (m.Protocol, m.Done), _ROUNDS, _MASKED_BUDGET, Price.CHARGED),
    Rule(m.Conclude, (m.Entries,), _ROUNDS | _ENDED, _MASKED_BUDGET, Price.PUBLIC),
    Rule(m.Finish, (m.Entries,), _STARTED, _MASKED_BUDGET, Price.PUBLIC),
)
"""What a member answers about one query; the query is agreed, and the sum of answers is noised."""


def question_name(request: m.Message) -> str:
    """Return a question's kind, and those of its fields that choose what is answered.

    There are few such names, whatever a coordinator sends, so that refusals by name stay few.
    """
    chosen = {
        field: getattr(request, field)
        for field in ("split", "kept", "arm", "noised")
        if hasattr(request, field)
    }
    parts = ", ".join(f"{field}={value}" for field, value in chosen.items())
    kind = str(getattr(request, "kind", type(request).__name__))
    return f"{kind} ({parts})" if parts else kind
