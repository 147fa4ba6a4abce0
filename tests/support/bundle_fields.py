"""Every field of a bundle, changed: by an outsider, by a member that signs it, or by all of them.

The fields are those of honest bundles, and a test compares them with the models of the code: a new
field is changed without anyone writing down how.
"""

import copy
import re
from collections import defaultdict
from dataclasses import dataclass

from securefl.consortium.encoding.jcs import canonical_bytes, from_timestamp, to_timestamp
from securefl.consortium.ledger.hash_chain import ENTRY_LABEL
from securefl.consortium.ledger.merkle import MerkleTree, leaf_hash
from securefl.consortium.ledger.tree_heads import TreeHead, countersign
from securefl_protocols.wire.context import labelled_digest

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
HEX = re.compile(r"[0-9a-f]{64}")
LARGEST = (1 << 53) - 1
UNORDERED = {("transcripts", "turned round")}
"""What may be done to a field: nobody signs the order of the files that a bundle names."""
FACTORS = (0.5, 0.99, 1.01, 2.0, 1e-6, 1e6)


@dataclass(frozen=True)
class Field:
    """One field of a bundle, wherever it stands.

    Attributes:
        name: Its path, with the kind of an event in the place of its number.
        places: Where it stands, as keys and numbers from the top.
    """

    name: str
    places: tuple[tuple[str | int, ...], ...]


def fields_of(tree):
    """Return every field of a bundle, in order of its first place."""
    found = defaultdict(list)
    for place, name in _nodes(tree, (), ""):
        found[name].append(place)
    return [Field(name, tuple(places)) for name, places in found.items() if name]


def _nodes(node, place, name):
    yield place, name
    if isinstance(node, dict):
        inside = f"{name}({node['kind']})" if "kind" in node else name
        for key, value in node.items():
            yield from _nodes(value, (*place, key), f"{inside}.{key}" if inside else key)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _nodes(value, (*place, number), f"{name}[]")


def at(tree, place):
    """Return what stands at a place."""
    for key in place:
        tree = tree[key]
    return tree


def put(tree, place, value):
    """Put something at a place; `...` removes it."""
    *above, last = place
    parent = at(tree, above)
    if value is not ...:
        parent[last] = value
    else:
        del parent[last]


def other_values(value, alike):
    """Yield (what is done, another value) of a field; `alike` has those at its other places."""
    yield from _by_type(value)
    for other in alike:
        if other != value:
            yield "that of another", copy.deepcopy(other)
            break
    if value is not None:
        yield "null", None


def _by_type(value):
    for kind, others in (
        (bool, lambda truth: [("the opposite", not truth)]),
        (int, _other_counts),
        (float, lambda real: [(f"times {f:g}", real * f) for f in FACTORS]),
        (str, _other_texts),
        (list, _other_lists),
        (dict, lambda tree: [("emptied", {}), ("a field more", tree | {"note": "trust me"})]),
    ):
        if isinstance(value, kind):
            yield from others(value)
            return
    yield from (("a number", 1), ("a part", 0.5), ("a digest", "f" * 64))


def _other_counts(value):
    steps = (1, -1, LARGEST - value, -value)
    return [(f"{step:+d}", value + step) for step in steps if step]


def _other_lists(value):
    if value:
        yield "emptied", []
        yield "without the last", value[:-1]
        yield "the last twice", [*value, copy.deepcopy(value[-1])]
    if value != value[::-1]:
        yield "turned round", value[::-1]


def _other_texts(value):
    if TIME.fullmatch(value):
        for name, days in (("a day later", 1), ("a day earlier", -1), ("years later", 4000)):
            moment = from_timestamp(value).timestamp() + days * 86400
            yield name, to_timestamp(from_timestamp(value).fromtimestamp(moment, tz=_zone(value)))
    elif len(value) in (64, 128) and HEX.match(value):
        yield "another digit", ("0" if value[0] != "0" else "1") + value[1:]
        yield "zeros", "0" * len(value)
    else:
        yield "another text", value + "x"
        yield "no text", ""


def _zone(value):
    return from_timestamp(value).tzinfo


def resigned(tree, keys, kept=()):
    """Sign a changed bundle anew: entries, links between them, and heads.

    Args:
        tree: The bundle; it is changed.
        keys: Member to key. An entry of no member is signed by the first of them.
        kept: Numbers of the entries whose link stays as it is.
    """
    last, log = {}, MerkleTree()
    heads, old = list(tree["heads"]), 0
    for number, signed in enumerate(tree["entries"]):
        old = _heads_at(number, heads, log, keys, old)
        entry, member = signed["entry"], signed["entry"]["member"]
        if member in last and number not in kept:
            entry["previous"] = last[member]
        content = canonical_bytes(entry)
        key = keys.get(member) or next(iter(keys.values()))
        signed["signature"] = key.sign(ENTRY_LABEL, content).hex()
        last[member] = labelled_digest(ENTRY_LABEL, content).hex()
        log.append(leaf_hash(canonical_bytes(signed)))
    _heads_at(len(tree["entries"]), heads, log, keys, old)
    size = tree["heads"][-1]["head"]["head"]["size"]
    for proof in tree["inclusion"]:
        proof["proof"] = [node.hex() for node in log.inclusion_proof(proof["index"], size)]
    return tree


def _heads_at(size, heads, log, keys, old):
    while heads and heads[0]["head"]["head"]["size"] == size:
        linked = heads.pop(0)
        content = linked["head"]["head"] | {"root": log.root().hex()}
        linked["head"]["head"] = content
        signers = linked["head"]["signatures"]
        head = TreeHead(**content)
        linked["head"]["signatures"] = {n: countersign(head, keys[n]).hex() for n in signers}
        linked["consistency"] = [node.hex() for node in log.consistency_proof(old, size)]
        old = size
    return old
