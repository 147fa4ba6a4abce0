"""The masks of securefl_protocols under a plain strategy of Flower: the server learns the sum.

Agreed beforehand, by another way than Flower: who the members are, by identity key (`ROSTER`).
"""

import hashlib
import itertools
import os

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAvg

from securefl_protocols import ClientSession, ClientState, RingDtype, Roster, RoundResult
from securefl_protocols import ServerSession, SessionContext, SessionPlan, ServerStep

SCALE, LIMIT, NAME = 1 << 20, 8.0, "masks"
digest = lambda data: hashlib.sha256(data).digest()  # noqa: E731


def agreed(roster: Roster, arrays: ArrayRecord) -> tuple[dict, bytes]:
    """Return what a session is built from, and the digest of the model that it trains."""
    model = arrays["model"].numpy()
    plan = SessionPlan.for_cohort(
        members=len(roster), dimension=model.size, ring=RingDtype.UINT32,
        largest_input=int(SCALE * LIMIT), terms=digest(b"float32 updates, 20 bits"),
    )  # fmt: skip
    context = SessionContext(digest(b"our agreement"), digest(model.tobytes()), plan.digest())
    return {"plan": plan, "roster": roster, "context": context}, digest(model.tobytes())


def answer(message: Message, context, roster: Roster, index: int, identity, train) -> Message:
    """Return a member's next message; each call is a new process, so the session is replayed."""
    state, told = context.state, message.content.config_records.get(NAME)
    if told is None:  # a round begins: train once, under a new seed
        arrays = message.content["arrays"]
        update = np.clip(train(arrays["model"].numpy()), -LIMIT, LIMIT).ravel()
        vector = np.rint(update * SCALE).astype(np.int32).view(np.uint32)
        state["arrays"], state["vector"] = arrays, ArrayRecord({"vector": Array(vector)})
        state[NAME] = ConfigRecord({"seed": os.urandom(32), "heard": []})
    else:
        state[NAME]["heard"] = [*state[NAME]["heard"], told["message"]]
    seed, numbers = state[NAME]["seed"], itertools.count()
    entropy = lambda size: hashlib.shake_256(seed + b"%d" % next(numbers)).digest(size)  # noqa: E731
    common, model = agreed(roster, state["arrays"])
    session = ClientSession(**common, index=index, identity=identity, entropy=entropy)
    said = [session.start(1, model)]
    for heard in state[NAME]["heard"]:
        said = session.receive(heard)
        if session.state is ClientState.READY and not said:
            said = [session.begin_round(1, model, state["vector"]["vector"].numpy())]
    reply = said[0] if said and not isinstance(said[0], RoundResult) else b""
    return Message(RecordDict({NAME: ConfigRecord({"i": index, "message": reply})}), reply_to=message)


class MaskedFedAvg(FedAvg):
    """FedAvg whose server sees masked updates alone; a member that is silent drops out."""

    def __init__(self, roster: Roster) -> None:
        super().__init__(fraction_evaluate=0.0, min_available_nodes=len(roster))
        self.roster = roster

    def configure_train(self, server_round, arrays, config, grid):
        self.grid, self.arrays = grid, arrays
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        common, model = agreed(self.roster, self.arrays)
        server = ServerSession(**common, number=1, model=model)
        while True:
            nodes = {}
            for reply in (reply for reply in replies if reply.has_content()):
                record = reply.content[NAME]
                nodes[record["i"]] = reply.metadata.src_node_id
                server.receive(record["i"], record["message"])
            told = server.end_step()
            if server.step is ServerStep.IDLE and server.survivors:
                break
            if server.step is ServerStep.IDLE:
                server.begin_round(1, model)
            replies = self.grid.send_and_receive(
                Message(RecordDict({NAME: ConfigRecord({"message": text})}), nodes[i], "train.masks")
                for i, text in told.items()
            )
        result = server.result()
        total = result.total.view(np.int32).astype(np.float64) / SCALE
        old = self.arrays["model"].numpy()
        new = old + (total / len(result.survivors)).reshape(old.shape).astype(old.dtype)
        return ArrayRecord({"model": Array(new)}), None
