"""The committed sessions: made again bit by bit, and followed as a second implementation would."""

import json

import numpy as np
import pytest

from protocols.generate import sessions as maker
from securefl_protocols.noise.layers import NoiseChain
from securefl_protocols.primitives.entropy import DeterministicEntropy
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.client import ClientSession, ClientState
from securefl_protocols.session.dropouts import ServerStep
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.results import RoundResult
from securefl_protocols.session.server import ServerSession
from securefl_protocols.wire.context import SessionContext
from securefl_protocols.wire.roster import Roster
from support.paths import VECTOR_FOLDER


def load(name):
    return json.loads((VECTOR_FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", maker.MAKERS)
def test_vectors_are_made_again_byte_by_byte(name):
    assert (VECTOR_FOLDER / f"{name}.json").read_text(encoding="utf-8") == maker.text_of(name)


class Followed:
    """Parties built from what is in a vector, and from nothing else."""

    def __init__(self, vector):
        plan = dict(vector["plan"])
        read = {"ring": RingDtype(plan["ring"]), "terms": bytes.fromhex(plan["terms"])}
        self.plan = SessionPlan(**(plan | read))
        self.model = bytes.fromhex(vector["model"])
        identities = [SigningKey(bytes.fromhex(k)) for k in vector["identity_private_keys"]]
        roster = Roster(
            tuple(map(str, range(self.plan.members))), tuple(key.public for key in identities)
        )
        context = SessionContext(
            bytes.fromhex(vector["consortium"]),
            bytes.fromhex(vector["run_id"]),
            bytes.fromhex(vector["plan_digest"]),
        )
        shared = {"plan": self.plan, "roster": roster, "context": context}
        seeds = [DeterministicEntropy(bytes.fromhex(s)) for s in vector["entropy_seeds"]]
        self.clients = [
            ClientSession(**shared, index=i, identity=identities[i], entropy=seeds[i])
            for i in range(self.plan.members)
        ]
        self.server = ServerSession(**shared, number=1, model=self.model)
        self.outbox = {i: client.start(1, self.model) for i, client in enumerate(self.clients)}

    def begin(self, number, vectors, secrets=()):
        self.server.begin_round(number, self.model)
        lanes = [
            np.array(v, self.plan.ring.signed_dtype).view(self.plan.ring.dtype) for v in vectors
        ]
        layers = {i: NoiseChain(bytes.fromhex(s), self.plan.layers) for i, s in enumerate(secrets)}
        self.outbox = {
            i: client.begin_round(number, self.model, lanes[i], layers.get(i))
            for i, client in enumerate(self.clients)
        }

    def step(self, recorded):
        for member, message in recorded["sent"].items():
            assert self.outbox[int(member)].hex() == message
            assert self.server.receive(int(member), bytes.fromhex(message)) is None
        told = self.server.end_step()
        assert {str(i): m.hex() for i, m in told.items()} == recorded["told"]
        answers = {i: self.clients[i].receive(message) for i, message in told.items()}
        self.outbox = {i: answer[0] for i, answer in answers.items() if answer}


@pytest.mark.parametrize("name", maker.SESSIONS)
def test_committed_session_is_followed(name):
    vector = load(name)
    is_expected = Followed(vector)
    for step in vector["opening"]:
        is_expected.step(step)
    for recorded in vector["rounds"]:
        is_expected.begin(recorded["number"], recorded["inputs"], recorded.get("layer_secrets", ()))
        for step in recorded["steps"]:
            is_expected.step(step)
        result = is_expected.server.result()
        total = result.total.view(is_expected.plan.ring.signed_dtype).tolist()
        assert total == recorded["total"]
        kept = [recorded["inputs"][i] for i in recorded["survivors"]]
        assert total == [sum(column) for column in zip(*kept, strict=True)]
        assert is_expected.server.transcript().digest().hex() == recorded["transcript_digest"]
        opened = recorded.get("opened_keys", {})
        for answer in (*is_expected.outbox.values(), result):
            assert isinstance(answer, RoundResult)
            assert {str(i): [k.hex() for k in keys] for i, keys in answer.opened.items()} == opened


BAD = load("session_bad_messages")


@pytest.mark.parametrize("case", BAD["to_member_0"], ids=lambda case: case["why"])
def test_bad_message_to_a_member(case):
    vector = load(BAD["session"])
    member = Followed(vector).clients[0]
    steps = [*vector["opening"], *vector["rounds"][0]["steps"]]
    for place in range(case["after"]):
        member.receive(bytes.fromhex(steps[place]["told"]["0"]))
        if place == 0:
            own = np.array(vector["rounds"][0]["inputs"][0], "<i4").view("<u4")
            member.begin_round(1, bytes.fromhex(vector["model"]), own)
    with pytest.raises(RemoteProtocolError):
        member.receive(bytes.fromhex(case["message"]))
    # A wrong sum costs the round, and not the session.
    over = ClientState.READY if case["why"] == "a bit of the sum flipped" else ClientState.ABORTED
    assert member.state is over


@pytest.mark.parametrize(
    "case", BAD["from_member_1"], ids=lambda case: f"{case['step']} {case['why']}"
)
def test_bad_message_to_the_coordinator(case):
    vector = load(BAD["session"])
    is_expected = Followed(vector)
    step = ServerStep[case["step"]]
    for _ in (earlier for earlier in (ServerStep.ADVERTISE, *maker.ROUND_STEPS) if earlier < step):
        for member, message in is_expected.outbox.items():
            is_expected.server.receive(member, message)
        told = is_expected.server.end_step()
        answers = {i: is_expected.clients[i].receive(message) for i, message in told.items()}
        is_expected.outbox = {i: answer[0] for i, answer in answers.items() if answer}
        if is_expected.server.step is ServerStep.IDLE:
            is_expected.begin(1, vector["rounds"][0]["inputs"])
    drop = is_expected.server.receive(1, bytes.fromhex(case["message"]))
    assert drop.reason.name == case["reason"]
    assert 1 not in is_expected.server.waiting_for()
