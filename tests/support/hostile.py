"""A coordinator that asks everything: every message, with its fields at extremes."""

import math
from collections import defaultdict
from itertools import product
from types import NoneType
from typing import Annotated, Literal, get_args, get_origin

import msgpack
import numpy as np

from securefl.federation import messages as m
from securefl.federation.aggregation.model_proofs import moments_digest
from securefl.federation.aggregation.secure import SecureAggregator
from securefl.federation.member.answers import ANSWERS, Phase, Protection, question_name
from securefl.federation.scores.coordinator import sum_scores
from securefl.federation.scores.exact_session import ExactScores, sum_exact
from securefl.federation.transport.exchange import Exchange
from securefl.ml.vectors import model_digest

LARGE = ((1 << 53) - 1, 1 << 63, (1 << 64) - 1)
LARGEST = 800
BYTES = {"payload", "change", "head", "query", "vote"}


def values_of(name, field, world):
    """The extremes of one field of a message; `world` has those that depend on the run."""
    if name in world:
        return world[name]
    kind = field.annotation
    if NoneType in get_args(kind):
        kind = get_args(kind)[0]
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return get_args(kind)
    if kind is bool:
        return (False, True)
    if name in BYTES:
        return (b"", b"\xff" * 40)
    return {int: (0, *LARGE), float: (0.0, 1e308), str: ("", "x" * 300)}.get(kind, ((),))


def every_question(world):
    """All messages that any party may send, with their fields at extremes."""
    for kind in get_args(m.AnyMessage):
        names = [name for name in kind.model_fields if name != "kind"]
        ranges = [values_of(name, kind.model_fields[name], world) for name in names]
        for values in combinations_of(ranges):
            try:
                yield kind(**dict(zip(names, values, strict=True)))
            except ValueError:
                continue  # no message: it would not be decoded either


def combinations_of(ranges):
    """Every combination; where there are too many, one field at a time is at its extremes."""
    if math.prod(map(len, ranges)) <= LARGEST:
        yield from product(*ranges)
        return
    base = [values[0] for values in ranges]
    yield base
    for place, values in enumerate(ranges):
        yield from ([*base[:place], value, *base[place + 1 :]] for value in values[1:])


def world_of(rounds, start, everybody):
    """What a coordinator knows of a run: rounds, the start, members, and models of its own."""
    crafted = np.zeros_like(start)
    crafted[0] = 1e6
    models = (m.pack_vector(start), m.pack_vector(crafted), b"", m.pack_vector(start[:-1]))
    forged = [everybody, moments_digest(b""), dict.fromkeys(everybody, b"\1" * 64)]
    return {
        "proof": (b"", msgpack.packb(forged)),
        "moments": (b"",),
        "round": (0, 1, rounds, rounds + 1, *LARGE),
        "rounds": (0, rounds, *LARGE),
        "number": (0, 1, rounds, rounds + 1, *LARGE),
        "since": (0, LARGE[-1]),
        "shared": models,
        "cohort": (everybody, everybody[:2], ()),
        "survivors": (everybody, ()),
        "model": (b"\1" * 32,),
        "transcript": (None, b"\1" * 32),
        "tallies": ({},),
        "entries": ((),),
        "signature": (b"\1" * 64,),
        "key": (b"\1" * 32,),
        "consistency": ((), (b"x" * 32,)),
        "inclusions": ((), ((0, (1 << 64) - 1, (b"y",)),)),
        "samples": (0, LARGE[-1]),
    }


class HostileCoordinator:
    """Asks one member everything in every phase, and leads the run on as agreed in between."""

    def __init__(self, transport, consortium, start, layout):
        self.transport, self.config = transport, consortium.config
        self.consortium, self.layout = consortium, layout
        self.names = consortium.roster.names
        self.victim = self.names[0]
        self.exchange = Exchange(transport)
        self.aggregator = SecureAggregator(consortium)
        self.answered, self.replies = defaultdict(set), []
        self.start = self.shared = start
        self.survivors = self.names
        self.models, self.ends = {m.pack_vector(start)}, {}

    def say(self, message, phase):
        """Ask the victim, and note what it answers."""
        reply = self.exchange.replies({self.victim: message})[self.victim]
        if not isinstance(reply, m.Failure | m.Refused):
            self.answered[phase].add(question_name(message))
            self.replies.append((message, reply))
        return reply

    def ask_everything(self, phase):
        """Each question in each variant, but for those that would move the member on too early."""
        for question in every_question(world_of(self.config.rounds, self.start, self.names)):
            if self.is_due(question, phase):
                self.say(question, phase)

    def is_due(self, question, phase):
        """Return whether a question leaves the member in its phase."""
        if isinstance(question, m.Shutdown):
            return False  # over a network, the process ends with it
        if isinstance(question, m.StartRun):
            return phase is not Phase.BEFORE_START
        outside = phase in {Phase.BEFORE_START, Phase.CLOSED}
        if isinstance(question, m.Conclude):
            # In mode `plain` there is nothing but the coordinator's word on how a round ended.
            return outside or self.config.mode == "secure"
        if isinstance(question, m.Finish):
            return outside
        return True

    def round(self, number):
        """Run a round as agreed."""
        if self.config.mode == "plain":
            asked = m.Train(round=number, shared=m.pack_vector(self.shared))
            self.exchange.ask_all(self.names, asked, m.Update)
            self.answered[Phase.IN_ROUNDS].add("train")
            return
        result = self.aggregator.aggregate(self.exchange, number, self.shared, self.names)
        self.shared = (self.shared.astype(np.float64) + result.change).astype(np.float32)
        self.survivors = result.survivors
        self.models.add(m.pack_vector(self.shared))
        self.ends[number] = (self.survivors, model_digest(self.shared).hex())
        self.answered[Phase.IN_ROUNDS] |= {"train-masked", "protocol"}

    def conclude(self, number, phase):
        """Say how a round ended."""
        ended = m.Conclude(
            round=number,
            survivors=self.survivors,
            model=model_digest(self.shared),
            transcript=None if self.config.mode == "plain" else b"t" * 32,
            since=0,
        )
        if phase is Phase.IN_ROUNDS:
            self.exchange.ask_all(self.names[1:], ended, m.Entries)
        assert isinstance(self.say(ended, phase), m.Entries)

    def sum_scores(self, number, phase):
        """Have the members sum the scores of a number as agreed, where that is agreed."""
        protection = Protection.of(self.config)
        if protection is Protection.MASKED:
            terms = self.exchange, self.consortium, self.layout, number, self.shared
            assert isinstance(sum_exact(*terms), ExactScores)
        elif protection is not Protection.PLAIN and phase is Phase.ROUNDS_ENDED:
            assert not isinstance(sum_scores(self.exchange, self.consortium, self.shared), str)
        else:
            return
        self.answered[phase] |= {"release-scores", "score-protocol"}

    def play(self):
        """The whole run; what is agreed to be asked once is asked before everything is."""
        rounds = self.config.rounds
        self.ask_everything(Phase.BEFORE_START)
        started = m.StartRun(since=0)
        self.exchange.ask_all(self.names, started, m.Entries)
        self.answered[Phase.BEFORE_START].add(question_name(started))
        for number in range(1, rounds + 1):
            self.round(number)
            model = m.pack_vector(self.shared)
            scored = m.Evaluate(round=number, shared=model, split="validation", kept=False)
            self.say(scored, Phase.IN_ROUNDS)
            self.sum_scores(number, Phase.IN_ROUNDS)
            if number == rounds:
                self.ask_everything(Phase.IN_ROUNDS)
            self.conclude(number, Phase.IN_ROUNDS)
        result = m.Deliver(round=rounds, shared=model)
        self.exchange.ask_all(self.names, result, m.Done)
        self.sum_scores(rounds + 1, Phase.ROUNDS_ENDED)
        for asked in (
            result,
            m.Evaluate(round=rounds, shared=model, split="test", kept=True),
            m.LocalOnlyRequest(shared=m.pack_vector(self.start)),
        ):
            self.say(asked, Phase.ROUNDS_ENDED)
        self.ask_everything(Phase.ROUNDS_ENDED)
        self.conclude(rounds, Phase.ROUNDS_ENDED)
        self.say(m.Finish(rounds=rounds, since=0), Phase.ROUNDS_ENDED)
        self.ask_everything(Phase.CLOSED)
        self.conclude(rounds, Phase.CLOSED)


UNREACHED = {
    # A countersignature needs a tree head of the log; see the ledger's own tests.
    *((phase, "show-head") for phase in Phase),
    # Nothing was saved yet; and a member that has trained is not taken back.
    (Phase.BEFORE_START, "restore"),
    (Phase.IN_ROUNDS, "restore"),
    # No vote was agreed in these runs; see `test_votes.py`.
    (Phase.IN_ROUNDS, "vote"),
}


def allowed(protection):
    """Phase to the names of the questions that the table allows."""
    found = defaultdict(set)
    for rule in ANSWERS:
        if protection in rule.protections:
            parts = ", ".join(f"{name}={value}" for name, value in rule.variant)
            kind = rule.question.model_fields["kind"].default
            for phase in rule.phases:
                found[phase].add(f"{kind} ({parts})" if parts else kind)
    return found


def check_against_table(coordinator, protection):
    """What was answered in each phase is what the table allows, no more and no less."""
    for phase in Phase:
        names, answered = allowed(protection)[phase], coordinator.answered[phase]
        assert not answered - names, (phase, answered - names)
        missing = {(phase, name) for name in names - answered}
        assert missing <= UNREACHED, missing - UNREACHED
