"""Random orders of arrival, losses and duplicates: the sum is exact, or there is none."""

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from securefl_protocols.primitives.errors import TooFewSurvivors
from securefl_protocols.session.client import MAY_BEGIN, ClientState
from securefl_protocols.session.dropouts import ServerStep
from securefl_protocols.session.results import RoundResult
from support.session_driver import MODEL, Consortium, inputs, plain_sum, small_plan

MEMBERS = 6
SUMS: list[int] = []
MISHAPS = [
    *("coordinator told twice", "member told twice") * 3,
    *("nothing",) * 3,
    "message lost",
    "member gone",
    "deadline early",
]


class SessionMachine(RuleBasedStateMachine):
    """A network that delays, repeats and loses whatever honest parties send."""

    @initialize(rounds=st.sampled_from([1, 3]), seed=st.integers(0, 1000))
    def open_session(self, rounds, seed):
        self.plan = small_plan(MEMBERS, rounds=rounds)
        consortium = Consortium(self.plan)
        self.clients, self.server = consortium.clients(), consortium.server()
        self.vectors = inputs(self.plan, seed)
        self.number = 0
        self.up = {i: [client.start(1, MODEL)] for i, client in enumerate(self.clients)}
        self.down = {i: [] for i in range(MEMBERS)}
        self.delivered_up, self.delivered_down = [], []
        self.results = {}

    def some(self, data, queues):
        """Draws an order of arrival, and how many of the waiting messages arrive by now."""
        order = data.draw(st.permutations([i for i, queue in queues.items() if queue]))
        late = data.draw(st.integers(0, len(order) - 1))
        return order if late < 3 else order[:-late]

    @precondition(lambda self: any(self.up.values()))
    @rule(data=st.data())
    def messages_reach_the_coordinator(self, data):
        for member in self.some(data, self.up):
            message = self.up[member].pop(0)
            self.server.receive(member, message)
            self.delivered_up.append((member, message))

    @precondition(lambda self: any(self.down.values()))
    @rule(data=st.data())
    def messages_reach_members(self, data):
        for member in self.some(data, self.down):
            message = self.down[member].pop(0)
            self.deliver(member, message)
            self.delivered_down.append((member, message))

    def deliver(self, member, message):
        for answer in self.clients[member].receive(message):
            if isinstance(answer, RoundResult):
                self.results[(member, answer.round)] = answer
            else:
                self.up[member].append(answer)

    @rule(data=st.data(), mishap=st.sampled_from(MISHAPS), member=st.integers(0, MEMBERS - 1))
    def mishap_happens(self, data, mishap, member):
        if mishap == "message lost" and self.up[member]:
            self.up[member].pop(0)
        elif mishap == "member gone":
            self.down[member].clear()
            self.clients[member].state = ClientState.ABORTED
        elif mishap == "deadline early" and self.server.step < ServerStep.IDLE:
            self.end_step()
        elif mishap == "coordinator told twice" and self.delivered_up:
            self.server.receive(*data.draw(st.sampled_from(self.delivered_up)))
        elif mishap == "member told twice" and self.delivered_down:
            told, message = data.draw(st.sampled_from(self.delivered_down))
            if self.clients[told].state is not ClientState.ABORTED:
                assert self.clients[told].receive(message) == []

    @precondition(lambda self: self.server.step < ServerStep.IDLE)
    @rule(order=st.permutations(range(MEMBERS)))
    def step_ends_when_everything_has_arrived(self, order):
        for member in order:
            self.flush_to_member(member)
        for member in reversed(order):
            while self.up[member]:
                self.server.receive(member, self.up[member].pop(0))
        self.end_step()

    def flush_to_member(self, member):
        while self.down[member]:
            self.deliver(member, self.down[member].pop(0))

    def end_step(self):
        in_round = self.server.step is not ServerStep.ADVERTISE
        try:
            for member, message in self.server.end_step().items():
                if self.clients[member].state is not ClientState.ABORTED:
                    self.down[member].append(message)
        except TooFewSurvivors:
            self.failed = True
            return
        if in_round and self.server.step in (ServerStep.IDLE, ServerStep.CLOSED):
            self.check_sum(self.server.result())

    @precondition(lambda self: self.server.step is ServerStep.IDLE)
    @rule()
    def round_begins(self):
        # Messages of the round before are delivered first: the transport keeps their order.
        for member in self.down:
            self.flush_to_member(member)
        self.number += 1
        self.server.begin_round(self.number, MODEL)
        for member in sorted(self.server.waiting_for()):
            client = self.clients[member]
            if client.state in MAY_BEGIN:
                self.up[member].append(client.begin_round(self.number, MODEL, self.vectors[member]))

    def check_sum(self, result):
        SUMS.append(result.round)
        assert len(result.survivors) >= self.plan.threshold
        kept = [self.vectors[member] for member in result.survivors]
        assert np.array_equal(result.total, plain_sum(kept))

    @invariant()
    def members_agree_with_the_coordinator(self):
        for result in self.results.values():
            assert result.verified
            self.check_sum(result)

    @invariant()
    def nobody_honest_is_banned(self):
        assert not self.server.banned


SessionMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=100,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def test_sum_is_exact_or_there_is_none():
    SUMS.clear()
    SessionMachine.TestCase().runTest()
    assert SUMS, "no example came as far as a sum"
