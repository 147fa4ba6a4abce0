"""Drives whole sessions in one process: who drops out when, and what an adversary changes.

Shared by the session tests, the vector maker and the session benchmark.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from securefl_protocols.noise.layers import NoiseChain, NoiseLayers
from securefl_protocols.primitives.entropy import DeterministicEntropy, Entropy
from securefl_protocols.primitives.ring import RingDtype, RingVector
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.client import ClientSession
from securefl_protocols.session.dropouts import ServerStep
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.results import RoundResult
from securefl_protocols.session.server import ServerSession
from securefl_protocols.wire.codec import (
    MEMBER_HEADER_BYTES,
    decode_body,
    decode_coordinator,
    encode_coordinator,
    open_envelope,
)
from securefl_protocols.wire.context import SessionContext
from securefl_protocols.wire.messages import CoordinatorMessage, MemberMessage
from securefl_protocols.wire.roster import Roster

MODEL = hashlib.sha256(b"model of round 1").digest()

Drops = Mapping[ServerStep, Iterable[int]]
"""Who sends nothing in which step."""


def input_digest(message: bytes) -> bytes:
    """The 32 bytes that stand for a MaskedInput message in a survivor set."""
    return hashlib.sha256(message[MEMBER_HEADER_BYTES:]).digest()


def entropy_of(name: str) -> DeterministicEntropy:
    return DeterministicEntropy(hashlib.sha256(name.encode()).digest())


def small_plan(members: int = 5, **changes) -> SessionPlan:
    settings = {
        "members": members,
        "dimension": 8,
        "ring": RingDtype.UINT32,
        "largest_input": 1 << 20,
        "terms": hashlib.sha256(b"terms").digest(),
    }
    return SessionPlan.for_cohort(**(settings | changes))


def inputs(plan: SessionPlan, seed: int = 0) -> list[RingVector]:
    """Returns an input for each member, over the whole range that the plan allows."""
    generator = np.random.default_rng(seed)
    most = plan.largest_input
    shape = (plan.members, plan.dimension)
    drawn = generator.integers(-most, most, shape, endpoint=True, dtype=np.int64)
    return list(drawn.astype(plan.ring.signed_dtype).view(plan.ring.dtype))


def plain_sum(vectors: Iterable[RingVector]) -> RingVector:
    first, *others = vectors
    total = first.copy()
    for vector in others:
        total += vector
    return total


@dataclass
class Consortium:
    """A roster with its keys, and what everybody agreed on."""

    plan: SessionPlan
    run_id: bytes = b"run"
    agreement: bytes = hashlib.sha256(b"agreement").digest()
    identities: list[SigningKey] = field(init=False)
    roster: Roster = field(init=False)

    def __post_init__(self) -> None:
        names = [f"retailer-{index}" for index in range(self.plan.members)]
        self.identities = [SigningKey.generate(entropy_of(f"identity {name}")) for name in names]
        self.roster = Roster(tuple(names), tuple(key.public for key in self.identities))

    @property
    def context(self) -> SessionContext:
        return SessionContext(self.agreement, self.run_id, self.plan.digest())

    def client(self, index: int, entropy: Entropy | None = None, **changes) -> ClientSession:
        settings = {
            "plan": self.plan,
            "roster": self.roster,
            "index": index,
            "identity": self.identities[index],
            "context": self.context,
            "entropy": entropy or DeterministicEntropy(self.entropy_seed(index)),
        }
        return ClientSession(**(settings | changes))

    def entropy_seed(self, index: int) -> bytes:
        return hashlib.sha256(b"entropy of %d in %b" % (index, self.run_id)).digest()

    def clients(self) -> list[ClientSession]:
        return [self.client(index) for index in range(self.plan.members)]

    def server(self, number: int = 1, model: bytes = MODEL) -> ServerSession:
        return ServerSession(
            plan=self.plan, roster=self.roster, context=self.context, number=number, model=model
        )


@dataclass
class Exchange:
    """Clients and a server, and the messages that are between them.

    Attributes:
        outbox: What the clients have sent in the step under way, by index.
        tamper: Changes what a client is told, given its index and the message.
        layers: Of the noise in each input, where the plan lets noise be taken back.
    """

    clients: list[ClientSession]
    server: ServerSession
    outbox: dict[int, bytes] = field(default_factory=dict)
    results: dict[int, RoundResult] = field(default_factory=dict)
    tamper: Callable[[int, bytes], bytes] = lambda _, message: message
    layers: dict[int, NoiseLayers] = field(default_factory=dict)

    @classmethod
    def of(cls, consortium: Consortium) -> "Exchange":
        return cls(consortium.clients(), consortium.server())

    def advertise(self, silent: Iterable[int] = (), number: int = 1, model: bytes = MODEL) -> None:
        self.outbox = {i: client.start(number, model) for i, client in enumerate(self.clients)}
        self.step(silent)
        if self.server.step is ServerStep.REVEAL:
            self.step()

    def begin(
        self,
        vectors: list[RingVector],
        number: int = 1,
        model: bytes = MODEL,
        members: Iterable[int] | None = None,
    ) -> None:
        self.server.begin_round(number, model)
        members = self.server.waiting_for() if members is None else members
        self.outbox = {
            i: self.clients[i].begin_round(number, model, vectors[i], self.layers.get(i))
            for i in sorted(members)
        }

    def step(self, silent: Iterable[int] = ()) -> dict[int, bytes]:
        """Delivers what the clients sent, ends the step, and delivers what they are told."""
        for index, message in self.outbox.items():
            if index not in set(silent):
                self.server.receive(index, message)
        told = self.server.end_step()
        self.outbox = {}
        for index, message in told.items():
            for answer in self.clients[index].receive(self.tamper(index, message)):
                if isinstance(answer, bytes):
                    self.outbox[index] = answer
                else:
                    self.results[index] = answer
        return told

    def finish(self, drops: Drops | None = None) -> RoundResult:
        """Takes the four steps of a round that has begun."""
        drops = drops or {}
        for step in (
            ServerStep.SHARE,
            ServerStep.MASK,
            ServerStep.CONSISTENCY,
            ServerStep.UNMASK,
        ):
            self.step(drops.get(step, ()))
        return self.server.result()

    def run(self, vectors: list[RingVector], drops: Drops | None = None) -> RoundResult:
        """Takes the whole of a session of one round."""
        self.advertise((drops or {}).get(ServerStep.ADVERTISE, ()))
        self.begin(vectors)
        return self.finish(drops)


def chains(plan: SessionPlan, seed: int = 0) -> dict[int, NoiseLayers]:
    """Returns the keys of every member's noise layers; none where the plan wants none."""
    if not plan.layers:
        return {}
    return {i: NoiseChain(layer_secret(i, seed), plan.layers) for i in range(plan.members)}


def layer_secret(member: int, seed: int) -> bytes:
    return hashlib.sha256(b"layers of %d in round %d" % (member, seed)).digest()


def body_of(data: bytes) -> MemberMessage:
    """Decodes a member's message without checking its signature."""
    envelope = open_envelope(data, largest=1 << 30)
    return decode_body(envelope.kind, envelope.body)


def told(data: bytes) -> CoordinatorMessage:
    return decode_coordinator(data, largest=1 << 30)


def changed(data: bytes, **fields) -> bytes:
    """Returns a message of the coordinator with other fields."""
    return encode_coordinator(replace(told(data), **fields))


def only(index: int, change: Callable[[bytes], bytes]) -> Callable[[int, bytes], bytes]:
    """Returns a `tamper` that changes what one member is told."""
    return lambda member, message: change(message) if member == index else message


def lanes_of(data: bytes, plan: SessionPlan) -> RingVector:
    """Returns the vector of a MaskedInput message."""
    return np.frombuffer(body_of(data).vector, dtype=plan.ring.dtype).copy()
