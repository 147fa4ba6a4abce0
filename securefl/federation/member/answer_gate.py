"""A member's gate: what its table of answers allows passes, all else is refused and recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from securefl.consortium.ledger.events import QuestionRefusal
from securefl.federation import messages as m
from securefl.federation.member.answers import Model, Often, Phase, Protection, Rule, question_name
from securefl.ml.vectors import FloatVector, model_digest

_CHECKED_BY_THE_SESSION = frozenset({m.TrainMasked, m.Protocol, m.ScoreRequest, m.ScoreProtocol})
"""Questions whose rounds, cohorts and models `MaskedMember` and its session check, with reasons."""

_OTHER_MODEL = {
    Model.ROUND_START: "round {} is over, or begins from another model than the last ended with",
    Model.ROUND_RESULT: "this is not the model that round {} ended with",
    Model.CONCLUDED: "this is not the model that round {} ended with",
    Model.START: "this is not the agreed start",
}


class RefusedQuestionError(m.MessageError):
    """A question that the table of answers does not allow; the text names question and reason."""

    wire_name: ClassVar[str] = "RefusedQuestionError"


class KnownModels(Protocol):
    """What a member itself knows of the run's models."""

    @property
    def rounds(self) -> int:
        """Number of agreed rounds."""

    def early_end(self, best: int | None) -> int | None:
        """Return the round after which the run may end early; None if it may not.

        Args:
            best: The round whose model is said to be the result; None where it is not said.
        """

    def is_recorded(self, number: int, model: bytes) -> bool:
        """Return whether the member's entry on a round names this model, or says "did not see"."""

    def ended_with(self, number: int, model: bytes, proof: bytes = b"") -> bool:
        """Return whether a round ended with this model: as verified, recorded, or signed by t."""

    def may_begin(self, number: int, model: bytes) -> bool:
        """Return whether a round in the clear may begin with this model: the last one's end."""

    def may_have_ended(self, number: int, model: bytes) -> bool:
        """Return whether a round in the clear, the newest, may have ended with this model."""

    @property
    def start(self) -> Callable[[], bytes]:
        """Returns the digest of the agreed start, recomputed."""

    def vector(self, data: bytes) -> FloatVector:
        """Return a shared model from the wire, of this model's length, float32 [d].

        Raises:
            MessageError: If it is none.
        """


Record = Callable[[str, str, QuestionRefusal], None]
"""Records a refused question: its name, the phase, the reason."""


class AnswerGate:
    """Admits what a table allows, once or as often as it says; everything else is refused.

    Attributes:
        phase: Where the run stands.
        model: Digest of the model in the question that was admitted last, as this member took it;
            empty where its row compares none.
    """

    def __init__(
        self,
        table: tuple[Rule, ...],
        protection: Protection,
        record: Record,
        models: KnownModels | None = None,
    ) -> None:
        """Begin before the start.

        Args:
            table: The rows.
            protection: The agreed protection.
            record: Records a refusal.
            models: The models that the member knows; None where no row is about models.
        """
        self.phase, self.model = Phase.BEFORE_START, b""
        self._table = table
        self._protection = protection
        self._record = record
        self._models = models
        self._asked: set[tuple[object, ...]] = set()
        self._pinned: tuple[int, bytes] = (0, b"")
        self._last: int | None = None

    def admit(self, request: m.Message) -> Rule:
        """Return the row that allows a question.

        Raises:
            RefusedQuestionError: If no row does.
            MessageError: If a model is malformed.
        """
        self.model = b""
        self._end_early(request)
        rule = self._rule(request)
        if rule.question not in _CHECKED_BY_THE_SESSION:
            self._check_round(request)
        # Before the model is checked: models cannot be tried until one is accepted.
        self._check_repeat(rule, request)
        self._check_model(rule, request)
        return rule

    def advance(self, phase: Phase) -> None:
        """Enter a later phase; an earlier one changes nothing."""
        order = list(Phase)
        self.phase = max(self.phase, phase, key=order.index)

    def state(self) -> dict[str, Any]:
        """Return what a restarted member needs, as plain values."""
        return {
            "phase": self.phase.value,
            "asked": sorted(self._asked, key=str),
            "pinned": self._pinned,
            "last": self._last,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self.phase = Phase(state["phase"])
        self._asked = {tuple(one) for one in state["asked"]}
        self._pinned = (state["pinned"][0], state["pinned"][1])
        self._last = state.get("last")

    def refuse(
        self, request: m.Message, reason: QuestionRefusal, text: str
    ) -> RefusedQuestionError:
        """Record a refusal, and return it as an error."""
        self._record(question_name(request), self.phase.value, reason)
        return RefusedQuestionError(text)

    def _end_early(self, request: m.Message) -> None:
        """Take the rounds for ended where a question says so, and the agreed patience allows it.

        From then on nothing is trained. A member does not know whether validation improved, but
        holds the coordinator to the number of rounds behind the result.
        """
        if self._models is None or self.phase is not Phase.IN_ROUNDS:
            return
        if isinstance(request, m.Deliver):
            last = self._models.early_end(request.round)
        elif isinstance(request, m.Finish):
            last = self._models.early_end(None)
            last = last if last == request.rounds else None
        else:
            return
        if last is not None:
            self._last = last
            self.advance(Phase.ROUNDS_ENDED)

    def _rule(self, request: m.Message) -> Rule:
        """Return the row of a question in this phase and under this protection."""
        rows = [rule for rule in self._table if rule.covers(request)]
        name = question_name(request)
        if not rows:
            raise self.refuse(request, "question", f"this member does not answer '{name}'")
        rows = [rule for rule in rows if self._protection in rule.protections]
        if not rows:
            text = f"'{name}' is not answered in a run that is {self._protection.value}"
            raise self.refuse(request, "protection", text)
        for rule in rows:
            if self.phase in rule.phases:
                return rule
        raise self.refuse(request, "phase", f"'{name}' is not answered {self.phase.value}")

    def _check_round(self, request: m.Message) -> None:
        number = getattr(request, "round", getattr(request, "rounds", None))
        if number is None or self._models is None:
            return
        # How many rounds a run had is in a signed entry: it is over after the last one alone.
        last = self._last or self._models.rounds
        if number == last or (0 <= number < last and not isinstance(request, m.Finish)):
            return
        raise self.refuse(request, "round", f"round {number} was not agreed")

    def _check_repeat(self, rule: Rule, request: m.Message) -> None:
        if rule.often is Often.AGAIN:
            return
        asked: tuple[object, ...] = (question_name(request),)
        if rule.often is Often.ONCE_A_ROUND:
            asked = (*asked, getattr(request, "round", 0))
        if asked in self._asked:
            text = f"'{asked[0]}' was asked before; what was answered before is not answered again"
            raise self.refuse(request, "again", text)
        self._asked.add(asked)

    def _check_model(self, rule: Rule, request: m.Message) -> None:
        if rule.model in {Model.NONE, Model.VERIFIED}:
            return
        number: int = getattr(request, "round", 0)
        if not self._fits(rule.model, number, request):
            raise self.refuse(request, "model", _OTHER_MODEL[rule.model].format(number))

    def _fits(self, rule: Model, number: int, request: m.Message) -> bool:
        """Return whether the model of a question is the one that its row allows."""
        models = self._models
        assert models is not None
        if isinstance(request, m.Conclude):
            return models.is_recorded(number, request.model)
        self.model = digest = model_digest(models.vector(getattr(request, "shared", b"")))
        if rule is Model.ROUND_START:
            return models.may_begin(number, digest) and self._pins(number, digest)
        if rule is Model.ROUND_RESULT:
            return models.may_have_ended(number, digest)
        if rule is Model.START:
            return digest == models.start()
        return models.ended_with(number, digest, getattr(request, "proof", b""))

    def _pins(self, number: int, model: bytes) -> bool:
        """Pin a round's model; rounds go forward, and none is trained from two models."""
        if number < max(self._pinned[0], 1) or (
            number == self._pinned[0] and model != self._pinned[1]
        ):
            return False
        self._pinned = (number, model)
        return True
