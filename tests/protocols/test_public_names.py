"""The public names of `securefl_protocols` suffice for a session, from the plan to the audit."""

import hashlib
import os
from dataclasses import replace

import numpy as np
import pytest

import securefl_protocols as protocols

MEMBERS, DIMENSION, ROUND = 4, 6, 1
MODEL = hashlib.sha256(b"model").digest()


def test_every_public_name_exists():
    """Star imports and documentation find what `__all__` promises."""
    assert protocols.__all__
    assert [name for name in protocols.__all__ if not hasattr(protocols, name)] == []


class Session:
    """Four members and a coordinator that know the public names alone."""

    def __init__(self):
        keys = [protocols.SigningKey.generate(os.urandom) for _ in range(MEMBERS)]
        self.plan = protocols.SessionPlan.for_cohort(
            members=MEMBERS,
            dimension=DIMENSION,
            ring=protocols.RingDtype.UINT32,
            largest_input=1000,
            terms=bytes(32),
        )
        names = tuple(f"retailer-{index}" for index in range(MEMBERS))
        self.roster = protocols.Roster(names, tuple(key.public for key in keys))
        self.context = protocols.SessionContext(bytes(32), b"run", self.plan.digest())
        agreed = {"plan": self.plan, "roster": self.roster, "context": self.context}
        self.clients = [
            protocols.ClientSession(**agreed, index=i, identity=key, entropy=os.urandom)
            for i, key in enumerate(keys)
        ]
        self.server = protocols.ServerSession(**agreed, number=ROUND, model=MODEL)
        self.results = {}

    def deliver(self, messages):
        """Give the coordinator what members sent; return what they answer to its messages."""
        for index, message in messages.items():
            assert self.server.receive(index, message) is None
        answers = {}
        for index, message in self.server.end_step().items():
            for answer in self.clients[index].receive(message):
                if isinstance(answer, protocols.RoundResult):
                    self.results[index] = answer
                else:
                    answers[index] = answer
        return answers

    def run(self, vectors, dropout):
        """Run one round in which a member shares its keys and sends no masked input."""
        self.deliver({i: client.start(ROUND, MODEL) for i, client in enumerate(self.clients)})
        assert self.server.step is protocols.ServerStep.IDLE
        self.server.begin_round(ROUND, MODEL)
        outbox = self.deliver(
            {i: self.clients[i].begin_round(ROUND, MODEL, v) for i, v in enumerate(vectors)}
        )
        del outbox[dropout]
        while outbox:
            outbox = self.deliver(outbox)
        return self.server.result()


@pytest.fixture(scope="module")
def finished():
    session = Session()
    signed = np.random.default_rng(1).integers(-1000, 1001, (MEMBERS, DIMENSION), dtype=np.int32)
    result = session.run(list(signed.view(session.plan.ring.dtype)), dropout=2)
    return session, signed, result


def test_session_through_public_names(finished):
    """The survivors' sum is exact, members verify it, and the dropout is on record."""
    session, signed, result = finished
    assert result.survivors == (0, 1, 3)
    expected = signed[[0, 1, 3]].sum(axis=0)
    assert result.total.view(session.plan.ring.signed_dtype).tolist() == expected.tolist()
    assert sorted(session.results) == [0, 1, 3]
    for seen in session.results.values():
        assert seen.verified
        assert seen.total.tolist() == result.total.tolist()
    (dropout,) = session.server.dropouts
    assert (dropout.member, dropout.step) == (2, protocols.ServerStep.MASK)
    assert dropout.reason is protocols.DropoutReason.SILENT


def test_transcript_through_public_names(finished):
    """An auditor recomputes the sum from the bytes of the transcript, and notices a change."""
    session, _, result = finished
    known = {"plan": session.plan, "roster": session.roster, "context": session.context}
    transcript = protocols.Transcript.from_bytes(session.server.transcript().to_bytes())
    replayed = protocols.replay(transcript, **known, model=MODEL)
    assert replayed.total.tolist() == result.total.tolist()
    assert replayed.survivors == result.survivors
    with pytest.raises(protocols.RemoteProtocolError):
        protocols.replay(transcript, **known, model=bytes(32))
    fewer = [dict(step) for step in transcript.messages]
    del fewer[2][3]
    with pytest.raises(protocols.RemoteProtocolError):
        protocols.replay(replace(transcript, messages=tuple(fewer)), **known, model=MODEL)
