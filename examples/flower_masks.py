"""The masks of securefl_protocols under a plain strategy of Flower: the server learns a sum."""

import hashlib
import io
import os
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAvg
import securefl_protocols as sp

SCALE, LIMIT, TERMS = 1 << 20, 8.0, hashlib.sha256(b"int32, 20 bits").digest()


def agreed(roster, dimension):
    """Plan, identity keys and context of every session; agreed beforehand, and not over Flower."""
    size = {"members": len(roster), "dimension": dimension, "largest_input": int(SCALE * LIMIT)}
    plan = sp.SessionPlan.for_cohort(**size, ring=sp.RingDtype.UINT32, terms=TERMS)
    context = sp.SessionContext(TERMS, b"example", plan.digest())
    return {"plan": plan, "roster": roster, "context": context}


def answer(message, context, common, index, identity, train):
    """A member's next message; each call may be a new process, and so the session is replayed."""
    if "arrays" in message.content:  # a round begins: train, once, and draw the session's seed
        model = message.content["arrays"]["model"].numpy()
        update = np.rint(np.clip(train(model), -LIMIT, LIMIT) * SCALE).astype(np.int32).ravel()
        begun = {"model": hashlib.sha256(model).digest(), "seed": os.urandom(32), "heard": []}
        context.state["update"] = ArrayRecord({"": Array(update)})
        context.state["masks"] = ConfigRecord(begun)
    else:
        context.state["masks"]["heard"] += [message.content["masks"]["text"]]
    kept, vector = context.state["masks"], context.state["update"][""].numpy().view(np.uint32)
    entropy = io.BytesIO(hashlib.shake_256(kept["seed"]).digest(1 << 20)).read
    session = sp.ClientSession(**common, index=index, identity=identity, entropy=entropy)
    said = [session.start(1, kept["model"])]
    for text in kept["heard"]:  # nothing is said to the list of keys, and the round begins
        said = session.receive(text) or [session.begin_round(1, kept["model"], vector)]
    done = {"i": index, "text": b"" if isinstance(said[0], sp.RoundResult) else said[0]}
    return Message(RecordDict({"masks": ConfigRecord(done)}), reply_to=message)


class MaskedFedAvg(FedAvg):  # a member that is silent in a step drops out of the round
    def __init__(self, grid, common, model):
        super().__init__(fraction_evaluate=0.0, min_available_nodes=len(common["roster"]))
        self.grid, self.common, self.model = grid, common, model

    def aggregate_train(self, server_round, replies):
        digest, nodes = hashlib.sha256(self.model).digest(), {}
        server = sp.ServerSession(**self.common, number=1, model=digest)
        while server.step is not sp.ServerStep.CLOSED:
            for reply in (one for one in replies if one.has_content()):
                said = reply.content["masks"]
                nodes[said["i"]] = reply.metadata.src_node_id
                server.receive(said["i"], said["text"])
            told = server.end_step()  # at the end the sum, which every member verifies
            if server.step is sp.ServerStep.IDLE:
                server.begin_round(1, digest)
            out = ((RecordDict({"masks": ConfigRecord({"text": told[i]})}), nodes[i]) for i in told)
            replies = self.grid.send_and_receive([Message(*part, "train.masks") for part in out])
        mean = server.result().total.view(np.int32) / SCALE / len(server.survivors)
        self.model = self.model + mean.reshape(self.model.shape).astype(self.model.dtype)
        return ArrayRecord({"model": Array(self.model)}), None
