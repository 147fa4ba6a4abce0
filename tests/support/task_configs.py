"""Small configurations of tasks, on the files that `purchases_in` makes."""

from securefl.config.load import load_config, merge
from securefl.data.sources.public_catalogue import common_data
from securefl.data.sources.registry import load
from securefl.tasks.registry import create_task

PRIVATE = {"dp": "local", "epsilon": 8.0, "delta": 1e-3, "expected_batch": 20.0}
TRANSFER_CUTS = {
    "min_households": 1,
    "min_products": 3,
    "negatives": 5,
    "departments": ["department 1"],
    "customers": 0.4,
    "source_rounds": 1,
}
CONTENT_CUTS = {"min_households": 1, "min_products": 4, "negatives": 9, "cold": 0.25}
CONTENT_MODEL = {"rank": 2, "own": {"rank": 2, "mapped": ["category"], "rounds": 1}}
SMALL_GRU = {"name": "gru", "dim": 4, "hidden": 4, "length": 4, "positions": 4}
BLEND = {
    "name": "blend",
    "parts": {
        "mf": {"model": {"name": "mf", "dim": 4}},
        "gru": {"task": "sequential", "model": SMALL_GRU, "rounds": 1},
    },
}
"""The packaged blend with smaller parts, of which one rests after a round."""
EASE = {"rounds": 1, "model": {"name": "ease", "items": 30, "own_ridge": 5.0}}


def _without_cuts(purchases):
    return {name: part for name, part in purchases.items() if name != "recommendation"}


def content_config(purchases, task="hybrid", **changes):
    """Products known by their features; two rounds."""
    small = {} if changes.get("model", {}).get("name") == "ease" else {"model": CONTENT_MODEL}
    base = {"model": {}, "task": task, task: CONTENT_CUTS, "rounds": 2}
    return load_config(None, merge(merge({**_without_cuts(purchases), **base}, small), changes))


def transfer_config(purchases, **changes):
    """A round on two departments, and a round on the third."""
    base = {"model": {"rank": 2}, "task": "transfer", "transfer": TRANSFER_CUTS, "rounds": 2}
    return load_config(None, merge({**_without_cuts(purchases), **base}, changes))


def blend_config(purchases, **changes):
    """Five parts, two of them the retailer's own; two rounds."""
    base = {**purchases, "model": {}, "rounds": 2}
    return load_config(None, merge(base, merge({"model": BLEND}, changes)))


def ease_config(purchases, **changes):
    """Item-to-item weights from one round."""
    tree = merge(EASE, changes)
    if "level" in changes.get("model", {}) and tree["model"]["level"] != "product":
        del tree["model"]["items"]  # of products alone
    return load_config(None, merge({**purchases, "model": {}}, tree))


def sequential_config(purchases, changes):
    """Purchases in order, with a model of a few numbers."""
    tree = {"task": "sequential", "sequential": purchases["recommendation"], "model": {}}
    sizes = {"dim": 4, "hidden": 4, "length": 4, "positions": 4, "history_dropout": 0.0}
    own = {"own": {"rounds": 2, "batch_size": 8, "factorization": {"dim": 4}}}
    if "privacy" in changes:
        sizes |= own
    changed = merge({"model": sizes}, changes)
    return load_config(None, merge({**_without_cuts(purchases), **tree}, changed))


def prepared(config):
    """The task of a configuration, the facts that its members agree on, and their examples."""
    task, data = create_task(config), load(config.data)
    facts = task.agree(common_data(config.data, lambda: data))
    return task, facts, [task.prepare(tables, facts) for tables in data.members]
