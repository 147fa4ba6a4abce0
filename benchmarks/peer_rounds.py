"""Whole rounds for `peers.py`: five members and a coordinator in one process, without a network.

Ours is masked and signed, Flower's is its strategy FedAvg in the clear. Both turn five vectors that
are there into what the coordinator has at the end: no training, no broker, no processes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

MEMBERS = 5


def masked_rounds(size: int) -> Callable[[], object]:
    """Return what makes one masked round after the other, under keys that are agreed already."""
    from private_step import MODEL, Step
    from securefl_protocols.primitives.ring import RingDtype

    step, vector = Step(MEMBERS, size, 1, RingDtype.UINT32), np.ones(size, dtype=np.uint32)
    numbers = iter(range(1, 64))

    def once() -> object:
        number = next(numbers)
        step.server.begin_round(number, MODEL)
        replies = [client.begin_round(number, MODEL, vector) for client in step.clients]
        for _ in range(4):
            for index, reply in enumerate(replies):
                step.server.receive(index, reply)
            told = step.server.end_step()
            replies = [step.clients[index].receive(told[index])[0] for index in told]
        return step.server.result()

    return once


def flower_rounds(size: int) -> Callable[[], object]:
    """Return what makes one round of Flower's FedAvg after the other, over a grid of calls."""
    from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid
    from flwr.serverapp.strategy import FedAvg
    from flwr.supercore.task_identity import TaskIdentity

    # What Flower's own processes set; without it no message can be made.
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    app = ClientApp()

    @app.train()
    def train(message: Message, _: Context) -> Message:
        (vector,) = message.content["arrays"].to_numpy_ndarrays()
        found = {"arrays": ArrayRecord([vector + 1]), "metrics": MetricRecord({"num-examples": 1})}
        return Message(RecordDict(found), reply_to=message)

    class Calls(Grid):
        """A grid whose nodes are calls of the app; messages are copied as if they were sent."""

        run = None

        def set_run(self, run: object) -> None: ...
        def create_message(self, *_: object, **__: object) -> Message:
            raise NotImplementedError

        def get_node_ids(self) -> list[int]:
            return list(range(1, MEMBERS + 1))

        def push_messages(self, messages: Iterable[Message]) -> list[str]:
            raise NotImplementedError

        pull_messages = push_messages

        def send_and_receive(
            self, messages: Iterable[Message], *, timeout: float | None = None
        ) -> list[Message]:
            return [self._answer(number, message) for number, message in enumerate(messages)]

        def _answer(self, number: int, message: Message) -> Message:
            message.metadata.__dict__["_message_id"] = str(number + 1)
            content = message.content
            message.content = RecordDict.inflate(content.deflate(), dict(content.children))
            node = message.metadata.dst_node_id
            return app(message, Context(1, node, {}, RecordDict(), {}))

    start = [np.zeros(size, dtype=np.float32)]
    strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=MEMBERS)

    def once() -> object:
        words = {"initial_arrays": ArrayRecord(start), "num_rounds": 1}
        return strategy.start(Calls(), **words, train_config=ConfigRecord())

    return once


def first_result(rounds: str, size: int) -> tuple[float, float]:
    """Return wall and CPU seconds of a new process until its first round is over."""
    import resource

    code = f"import peer_rounds; peer_rounds.{rounds}({size})()"
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, check=True, capture_output=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, spent
