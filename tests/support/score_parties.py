"""Members that hold nothing but units' scores, and a coordinator that asks for their sum."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.keys.key_files import generate_key
from securefl.consortium.ledger.data_custody import LedgerContext, RefusedError
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.policy import policy_of
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.member.replying import refused
from securefl.federation.runs.simulation import local_agreement
from securefl.federation.scores.coordinator import sum_scores
from securefl.federation.scores.member import MemberScores, scores_charged
from securefl.federation.transport.exchange import Exchange
from securefl.federation.transport.local import InProcess
from securefl.ml.metrics.unit_sums import UnitSums
from securefl_protocols.session.dropouts import COLLECTED_IN, ServerStep
from securefl_protocols.wire.codec import open_envelope

NAMES = ("north", "south", "west", "east", "mid")
STEPS = {
    "shares": ServerStep.SHARE,
    "masked-input": ServerStep.MASK,
    "consistency": ServerStep.CONSISTENCY,
    "unmask": ServerStep.UNMASK,
}
MODEL = np.arange(6, dtype=np.float32)


def ratings_units(seed=0, units=40):
    """Units with some cases each, of which some are right."""
    draw = np.random.default_rng(seed)
    cases = draw.integers(1, 4, units).astype(float)
    return UnitSums({"accuracy": np.floor(cases * draw.random(units))}, {"cases": cases})


@dataclass(frozen=True)
class ScoreSpec:
    """A process that hosts one such member."""

    name: str
    ledger: MemberLedger
    identity: bytes
    consortium: Consortium
    units: UnitSums
    cost: int = 1
    log: list = field(default_factory=list)

    def build(self):
        return ScoreParty(self)


class ScoreParty:
    """Answers requests for scores; its log says in which order it charged and scored."""

    def __init__(self, spec):
        self.spec = spec
        self.scores = MemberScores(spec.ledger, spec.identity, spec.consortium, spec.units.units)

    def handle(self, message):
        request = m.decode(message)
        try:
            if isinstance(request, m.ScoreRequest):
                shared = m.unpack_vector(request.shared)
                reply = self.scores.enter(request, shared, self._scored)
            else:
                reply = self.scores.receive(request)
        except RefusedError as error:
            reply = refused(error.refusal)
        except SecureflError as error:
            reply = m.Failure(error=error.wire_name, text=str(error))
        return [m.encode(reply)]

    def _scored(self, shared):
        del shared
        self.spec.log.append(scores_charged(self.spec.ledger))
        return self.spec.units

    def close(self):
        self.spec.ledger.close()


class WithoutScores:
    """A transport on which some members vanish from a step of a sum of scores on."""

    def __init__(self, inner, dropouts):
        self._inner = inner
        self._gone = {(one.member, one.round): STEPS[one.step] for one in dropouts}

    def publish(self, party, message):
        self._inner.publish(party, message)

    def receive(self, timeout=None):
        delivery = self._inner.receive(timeout)
        message = m.decode(delivery.message)
        if isinstance(message, m.ScoreProtocol):
            step = COLLECTED_IN[open_envelope(message.payload, largest=1 << 20).kind]
            if step >= self._gone.get((delivery.sender, message.round), ServerStep.CLOSED):
                return replace(delivery, message=m.encode(m.Absent()))
        return delivery

    def __enter__(self):
        self._inner.__enter__()
        return self

    def __exit__(self, *details):
        self._inner.__exit__(*details)


def score_specs(config, folder, policy=None, names=NAMES, units=ratings_units):
    """Members under one agreement, each with its own units and ledger."""
    keys = {name: generate_key() for name in names}
    consortium = Consortium(local_agreement("scores", config, keys), bytes(range(32)))
    specs = []
    for place, name in enumerate(names):
        context = LedgerContext(Path(folder), policy_of(policy, name), name * 8, "scores")
        identity = keys[name].private_bytes()
        ledger = MemberLedger(name, identity, consortium, context, Path(folder))
        specs.append(ScoreSpec(name, ledger, identity, consortium, units(place)))
    return specs


def ask_scores(specs, dropouts=(), engine=InProcess):
    """The sum of all members' scores, as the coordinator gets it, or why there is none."""
    inner = engine(specs)
    with WithoutScores(inner, dropouts) if dropouts else inner as transport:
        return sum_scores(Exchange(transport), specs[0].consortium, MODEL)


def with_units(spec, units):
    """The same member with other units."""
    return replace(spec, units=units)
