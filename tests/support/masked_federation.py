"""Real members of masked sums without training, and some that lie: quick, for many attacks."""

import os
from dataclasses import dataclass, field, replace

import numpy as np

from securefl.config.load import load_config, merge
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.keys.key_files import generate_key
from securefl.federation import messages as m
from securefl.federation.aggregation.model_proofs import ModelProof, RoundEnd, moments_digest
from securefl.federation.aggregation.secure import SecureAggregator
from securefl.federation.aggregation.session_driver import RejectedSumError
from securefl.federation.runs.simulation import local_agreement
from securefl.federation.transport.base import Delivery
from securefl.federation.transport.exchange import Exchange
from securefl.ml.vectors import model_digest
from securefl_protocols.wire.codec import MEMBER_HEADER_BYTES, decode_body
from securefl_protocols.wire.messages import LayeredInput, MaskedInput
from securefl_protocols.wire.signed_statements import signed_with_digest
from support.closing import closed_later
from support.rehearsal import RehearsingMember
from support.small_runs import SMALL_DEMAND

DIMENSION = 20


def proof_of(consortium, number, result, following):
    """What members signed of a round's end, without moments of a server optimizer."""
    end = RoundEnd(number, result.survivors, model_digest(following), moments_digest(b""))
    return ModelProof.of(consortium, end, result.signatures)


def wrong_checksum(session, answer):
    """The message of a member that signs another tag with its input, and is honest else."""
    kind = {MaskedInput.CODE: MaskedInput, LayeredInput.CODE: LayeredInput}.get(answer.payload[1])
    if kind is None:
        return answer
    client = session.client
    party, keys = client._opening.party, client._keystore
    honest = decode_body(kind, answer.payload[MEMBER_HEADER_BYTES:])
    forged, digest = signed_with_digest(
        replace(honest, tag=(5).to_bytes(12, "big")),
        context=client._round._context,
        sender=party.index,
        session_key=keys.encryption.public,
        identity=party.identity,
    )
    client._round._input_digest = digest
    return m.Protocol(round=answer.round, payload=forged)


def make_liar(masked, rounds):
    """Have a member send wrong checksums in the tries of its rounds whose places are given."""
    honest, tries = masked._answer, []

    def answer(session, payload):
        reply = honest(session, payload)
        if isinstance(reply, m.Protocol) and reply.payload[1] in (MaskedInput.CODE, 6):
            tries.append(reply.round)
            if len(tries) in rounds:
                return wrong_checksum(session, reply)
        return reply

    masked._answer = answer


@dataclass
class Wire:
    """The way to the members; a test may change what they are told and what they say."""

    members: dict
    down: object = staticmethod(lambda name, message: message)
    up: object = staticmethod(lambda name, message: message)
    waiting: list = field(default_factory=list)

    def publish(self, party, message):
        told = self.down(party, m.decode(message))
        (answer,) = (
            [m.encode(m.Absent())] if told is None else self.members[party].handle(m.encode(told))
        )
        said = self.up(party, m.decode(answer))
        self.waiting.append(Delivery(party, m.encode(m.Absent() if said is None else said)))

    def receive(self, timeout=None):
        del timeout
        return self.waiting.pop(0)


class MaskedFederation:
    """Members, their ledgers, and a coordinator's aggregator.

    Attributes:
        wire: The way to the members.
        models: The model before each round, as the coordinator computed it.
        proofs: What members signed of each round's end.
    """

    def __init__(self, folder, members=5, make=RehearsingMember, server=None, **settings):
        self.names = tuple(f"retailer-{number}" for number in range(members))
        self.keys = {name: generate_key() for name in self.names}
        config = load_config(
            None,
            merge(
                SMALL_DEMAND,
                {"mode": "secure", "secure": {"bits": 64} | settings, "server": server or {}},
            ),
        )
        agreement = local_agreement("rehearsal", config, self.keys)
        self.consortium, self.folder, self.make = Consortium(agreement, bytes(32)), folder, make
        self.wire = Wire({name: self.member(name) for name in self.names})
        self.aggregator = SecureAggregator(self.consortium)
        self.models = {1: np.zeros(DIMENSION, dtype=np.float32)}
        self.proofs = {}

    def member(self, name, entropy=os.urandom):
        """A member without any memory but its ledger."""
        identity = self.keys[name].private_bytes()
        return closed_later(self.make(name, identity, self.consortium, entropy, self.folder))

    def round(self, number=1, aggregator=None):
        """Run a round and return its sum; the next model follows from it."""
        aggregator = aggregator or self.aggregator
        result = aggregator.masked_sum(Exchange(self.wire), number, self.models[number], self.names)
        change = aggregator.decoded(result).change
        self.models[number + 1] = (self.models[number].astype(float) + change).astype(np.float32)
        self.proofs[number] = proof = proof_of(
            self.consortium, number, result, self.models[number + 1]
        )
        aggregator.hand_over(proof, b"", proof.signatures)
        return result

    def ask(self, name, message):
        """What a member answers."""
        (answer,) = self.wire.members[name].handle(m.encode(message))
        return m.decode(answer)

    def request(self, number, session):
        """The message that enters a round."""
        shared = m.pack_vector(self.models[number])
        return m.TrainMasked(round=number, shared=shared, cohort=self.names, session=session)


def rejects(message):
    """Whether a message says that a sum was rejected."""
    return isinstance(message, m.Failure) and message.error == RejectedSumError.wire_name
