"""The masks of securefl_protocols under a plain strategy of Flower: the server learns a sum.

The roster of identity keys is agreed beforehand, and not over Flower.
"""

import hashlib
import itertools
import os

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAvg
import securefl_protocols as sp

SCALE, LIMIT, NAME = 1 << 20, 8.0, "masks"


def agreed(roster, arrays):
    """What a session is built from, and the digest of the model that it is about."""
    model = arrays["model"].numpy()
    terms, digest = hashlib.sha256(b"int32, 20 bits").digest(), hashlib.sha256(model).digest()
    size = {"members": len(roster), "dimension": model.size, "largest_input": int(SCALE * LIMIT)}
    plan = sp.SessionPlan.for_cohort(**size, ring=sp.RingDtype.UINT32, terms=terms)
    context = sp.SessionContext(terms, digest, plan.digest())
    return {"plan": plan, "roster": roster, "context": context}, digest


def answer(message, context, roster, index, identity, train):
    """A member's next message; each call may be a new process, and so the session is replayed."""
    state, told = context.state, message.content.config_records.get(NAME)
    if told is None:  # a round begins: train, once, and draw the seed of its session
        state["arrays"] = message.content["arrays"]
        update = np.clip(train(state["arrays"]["model"].numpy()), -LIMIT, LIMIT).ravel()
        state["vector"] = ArrayRecord({"": Array(np.rint(update * SCALE).astype(np.int32))})
        state[NAME] = ConfigRecord({"seed": os.urandom(32), "heard": []})
    else:
        state[NAME]["heard"] = [*state[NAME]["heard"], told["text"]]
    numbers, (common, model) = itertools.count(), agreed(roster, state["arrays"])
    entropy = lambda n: hashlib.shake_256(state[NAME]["seed"] + b"%d" % next(numbers)).digest(n)
    session = sp.ClientSession(**common, index=index, identity=identity, entropy=entropy)
    said = [session.start(1, model)]
    for text in state[NAME]["heard"]:
        said = session.receive(text)
        if session.state is sp.ClientState.READY and not said:
            said = [session.begin_round(1, model, state["vector"][""].numpy().view(np.uint32))]
    text = b"" if isinstance(said[0], sp.RoundResult) else said[0]
    return Message(RecordDict({NAME: ConfigRecord({"i": index, "text": text})}), reply_to=message)


class MaskedFedAvg(FedAvg):
    """FedAvg over masked updates; who is silent in a step drops out of the round."""

    def __init__(self, roster):
        super().__init__(fraction_evaluate=0.0, min_available_nodes=len(roster))
        self.roster = roster

    def configure_train(self, server_round, arrays, config, grid):
        self.grid, self.arrays = grid, arrays
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        common, model = agreed(self.roster, self.arrays)
        server, nodes = sp.ServerSession(**common, number=1, model=model), {}
        while server.step is not sp.ServerStep.CLOSED:
            for reply in (one for one in replies if one.has_content()):
                record = reply.content[NAME]
                nodes[record["i"]] = reply.metadata.src_node_id
                server.receive(record["i"], record["text"])
            told = server.end_step()  # at the end the sum, which every member verifies
            if server.step is sp.ServerStep.IDLE:
                server.begin_round(1, model)
            said = ((RecordDict({NAME: ConfigRecord({"text": told[i]})}), nodes[i]) for i in told)
            replies = self.grid.send_and_receive([Message(*one, "train.masks") for one in said])
        result, old = server.result(), self.arrays["model"].numpy()
        mean = result.total.view(np.int32).reshape(old.shape) / SCALE / len(result.survivors)
        return ArrayRecord({"model": Array((old + mean).astype(old.dtype))}), None
