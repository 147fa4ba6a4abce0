"""Sessions in which the package and the reference implementation of protocol.md are mixed.

For the same entropy both send the same bytes, and all come to the same sums: members of either
kind in one session, coordinators of either kind, dropouts in every step, one round and many, noise
layers, sparse graphs, all rings, rounds that are repeated after a wrong checksum.
"""

import ast
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.basics import Plan, Setting, WrongSum
from reference.client import Client
from reference.server import NoSum, Server
from securefl_protocols.noise.layers import NoiseChain
from securefl_protocols.primitives.entropy import DeterministicEntropy
from securefl_protocols.primitives.errors import ChecksumFailed, TooFewSurvivors
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.session.dropouts import ServerStep
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.results import RoundResult
from support.session_driver import MODEL, Consortium, changed, inputs, layer_secret, told

STEPS = ("SHARE", "MASK", "CONSISTENCY", "UNMASK")


class Member:
    """A member of either kind under one interface: signed integers in, sums out."""

    def __init__(self, consortium, index, reference):
        plan, seed = consortium.plan, consortium.entropy_seed(index)
        self.plan, self.index, self.reference = plan, index, reference
        if reference:
            identity = consortium.identities[index].private_bytes()
            self.inner = Client(setting_of(consortium), index, identity, DeterministicEntropy(seed))
        else:
            self.inner = consortium.client(index)

    def start(self):
        return self.inner.start(1, MODEL)

    def begin(self, number, vector, only=None):
        secret = layer_secret(self.index, number) if self.plan.layers else None
        if self.reference:
            numbers = vector.view(self.plan.ring.signed_dtype).tolist()
            return self.inner.begin_round(number, MODEL, numbers, secret, only)
        layers = NoiseChain(secret, self.plan.layers) if secret else None
        return self.inner.begin_round(number, MODEL, vector, layers, only)

    def receive(self, data):
        """What to send, and at the end sum, survivors and opened layers; or who survived."""
        try:
            answers = self.inner.receive(data)
        except (WrongSum, ChecksumFailed) as failed:
            return [("failed", frozenset(failed.survivors))]
        return [self._read(answer) for answer in answers]

    def _read(self, answer):
        if isinstance(answer, RoundResult):
            total = answer.total.view(self.plan.ring.signed_dtype).tolist()
            return total, list(answer.survivors), dict(answer.opened)
        return answer[2:] if isinstance(answer, tuple) else answer


def setting_of(consortium):
    plan = consortium.plan
    theirs = Plan(
        members=plan.members,
        threshold=plan.threshold,
        degree=plan.degree,
        dimension=plan.dimension,
        bits=plan.ring.value,
        largest_input=plan.largest_input,
        rounds=plan.rounds,
        min_members=plan.min_members,
        terms=plan.terms,
        layers=plan.layers,
    )
    assert theirs.digest() == plan.digest()
    return Setting(theirs, consortium.roster.identities, consortium.agreement, consortium.run_id)


class Coordinator:
    """The package's server and the reference's, given the same messages; both say the same."""

    def __init__(self, consortium):
        self.package = consortium.server()
        self.reference = Server(setting_of(consortium), 1, MODEL)

    def begin(self, number, only=None):
        self.package.begin_round(number, MODEL, only)
        self.reference.begin_round(number, MODEL, only)
        waiting = self.package.waiting_for()
        assert waiting == self.reference.expected
        return waiting

    def receive(self, member, data):
        taken = self.package.receive(member, data) is None
        assert self.reference.receive(member, data) == taken

    def end_step(self):
        try:
            told = self.package.end_step()
        except TooFewSurvivors:
            with pytest.raises(NoSum):
                self.reference.end_step()
            assert self.package.step.name == self.reference.step
            return None
        assert told == self.reference.end_step()
        assert self.package.step.name == self.reference.step
        return told


class Mixed:
    """A session of both kinds, and twins of the members: of the kind that each is not."""

    def __init__(self, plan, kinds):
        consortium = Consortium(plan)
        members = range(plan.members)
        self.plan = plan
        self.members = [Member(consortium, i, kinds[i]) for i in members]
        self.twins = [Member(consortium, i, not kinds[i]) for i in members]
        self.coordinator = Coordinator(consortium)
        self.outbox, self.sums = {}, {}

    def both(self, index, act):
        """One member and its twin do the same, and say the same."""
        said = act(self.members[index])
        assert said == act(self.twins[index])
        return said

    def open(self, silent=()):
        for index in range(self.plan.members):
            self.outbox[index] = self.both(index, lambda m: m.start())
        while self.coordinator.package.step in (ServerStep.ADVERTISE, ServerStep.REVEAL):
            if not self.step(silent):
                return False
            silent = ()
        return True

    def begin(self, number, vectors, only=None):
        self.outbox = {
            index: self.both(index, lambda m, i=index: m.begin(number, vectors[i], only))
            for index in sorted(self.coordinator.begin(number, only))
        }

    def step(self, silent=(), tamper=lambda message: message):
        for index, message in self.outbox.items():
            if index not in silent:
                self.coordinator.receive(index, message)
        told, self.outbox = self.coordinator.end_step(), {}
        for index, message in (told or {}).items():
            for answer in self.both(index, lambda m, d=message: m.receive(tamper(d))):
                if isinstance(answer, bytes):
                    self.outbox[index] = answer
                else:
                    self.sums[index] = answer
        return told is not None

    def finish(self, drops):
        return all(self.step(drops.get(step, ())) for step in STEPS)


@st.composite
def plans(draw):
    members = draw(st.integers(3, 7))
    ring = draw(st.sampled_from(list(RingDtype)))
    least = draw(st.integers(3, members))
    form = draw(st.sampled_from(["complete", "layered", "sparse"]))
    plan = SessionPlan.for_cohort(
        members=members,
        dimension=draw(st.sampled_from([1, 3, 513])),
        ring=ring,
        largest_input=draw(st.sampled_from([1, 1 << 10, ring.largest // members])),
        terms=hashlib.sha256(b"terms").digest(),
        rounds=draw(st.sampled_from([1, 3])),
        min_members=least,
        layered=form == "layered",
    )
    if form == "sparse" and members > 4:
        degree = draw(st.sampled_from([k for k in (2, 4) if k < members - 1]))
        threshold = draw(st.integers(degree // 2 + 1, degree))
        plan = replace(plan, degree=degree, threshold=threshold)
    return plan


@settings(max_examples=40, deadline=None)
@given(plans(), st.data())
def test_mixed_sessions_say_the_same_bytes_and_sums(plan, data):
    """Whoever plays whom, all messages are the same, and so are all sums."""
    kinds = data.draw(st.lists(st.booleans(), min_size=plan.members, max_size=plan.members))
    session, members = Mixed(plan, kinds), st.integers(0, plan.members - 1)
    few = st.sets(members, max_size=1 + plan.members // 4)
    if not session.open(data.draw(few)):
        return
    for number in range(1, plan.rounds + 1):
        vectors, session.sums = inputs(plan, seed=number), {}
        session.begin(number, vectors)
        drops = data.draw(st.dictionaries(st.sampled_from(STEPS), few, max_size=2))
        if not session.finish(drops):
            continue
        total, survivors, _ = next(iter(session.sums.values()))
        expected = np.sum(
            [vectors[i].view(plan.ring.signed_dtype).astype(object) for i in survivors], axis=0
        )
        assert total == expected.tolist()
        assert all(answer == (total, survivors, answer[2]) for answer in session.sums.values())
        assert session.coordinator.reference.sum == total


@pytest.mark.parametrize("layered", [False, True])
def test_mixed_session_repeats_a_round_with_a_wrong_sum(layered):
    """Both kinds end the round, stay in the session and accept the same survivors alone."""
    plan = replace(Consortium(SessionPlan.for_cohort(**plain(layered))).plan, rounds=3)
    session = Mixed(plan, [True, False, True, False, True])
    assert session.open()
    vectors = inputs(plan)
    session.begin(1, vectors)
    for _ in range(3):
        session.step()
    session.step(tamper=lambda m: changed(m, total=bytes(len(told(m).total))))
    assert session.sums == {i: ("failed", frozenset(range(5))) for i in range(5)}
    session.sums = {}
    session.begin(2, vectors, only=frozenset(range(5)))
    assert session.finish({})
    assert all(survivors == [0, 1, 2, 3, 4] for _, survivors, _ in session.sums.values())
    session.begin(3, vectors, only=frozenset(range(5)))
    assert not session.finish({"MASK": [4]})


def plain(layered):
    return {
        "members": 5,
        "dimension": 4,
        "ring": RingDtype.UINT32,
        "largest_input": 1000,
        "terms": bytes(32),
        "layered": layered,
    }


def test_reference_shares_no_code_with_the_package():
    """Its modules import `cryptography` and the standard library."""
    import reference.basics
    import reference.client
    import reference.server

    for module in (reference.basics, reference.client, reference.server):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        names = {
            n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names
        }
        names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        rooms = {name.split(".")[0] for name in names}
        assert rooms <= {"cryptography", "dataclasses", "hashlib", "reference"}
