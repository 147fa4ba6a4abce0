"""What Flower itself takes: messages with nothing in them, to its nodes and back."""

import json
import time
from pathlib import Path

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

KIND = "query.probe"
APP = """
[project]
name = "probe"
version = "1.0.0"
dependencies = []

[tool.flwr.app]
publisher = "tests"

[tool.flwr.app.components]
serverapp = "support.flower_probe:server"
clientapp = "support.flower_probe:client"

[tool.flwr.app.config]
file = ""
nodes = 0
turns = 0
ahead = 0
"""

# Flower looks for an assignment of each alone.
client = ClientApp()
server = ServerApp()


@client.query("probe")
def answer(message, context):
    del context
    return Message(RecordDict(), reply_to=message)


def turn(grid, nodes, ahead):
    """Seconds until every node has answered one message; `ahead` others follow it at once.

    A node that finds nothing to do when it has answered looks again after three seconds, and so not
    while there is one of those.
    """
    began = time.perf_counter()
    names = grid.push_messages([_empty(node) for node in nodes])
    grid.push_messages([_empty(node) for node in nodes for _ in range(ahead)])
    left = set(names)
    while left:
        time.sleep(0.01)
        found = grid.pull_messages(list(left))
        left -= {reply.metadata.reply_to_message_id for reply in found}
    return time.perf_counter() - began


def _empty(node):
    # Each with a number of its own: a message's name is the digest of what is in it.
    return Message(RecordDict({"": ConfigRecord({"at": time.perf_counter()})}), node, KIND)


@server.main()
def measure(grid, context):
    options = context.run_config
    seconds = turns(grid, options["nodes"], options["turns"], options["ahead"])
    Path(options["file"]).write_text(json.dumps(seconds))


def turns(grid, most, count, ahead=0):
    """Seconds of so many turns; without those of the first, which brings the app to the nodes."""
    while len(nodes := list(grid.get_node_ids())[:most]) < most:
        time.sleep(0.1)
    return [turn(grid, nodes, ahead) for _ in range(count + 1)][1:]
