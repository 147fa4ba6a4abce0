"""What an outsider without a key makes of a genuine bundle, to be passed as another one."""

from datetime import timedelta

from securefl.consortium.encoding.jcs import canonical_bytes, from_timestamp, to_timestamp
from securefl.consortium.ledger.hash_chain import ENTRY_LABEL
from securefl_protocols.primitives.signing import SigningKey
from support.bundle_edits import FALSE


def _first(tree):
    return tree["agreement"]["agreement"]["members"][0]["name"]


def _without_heads(tree):
    tree["heads"] = []


def _cut(tree):
    del tree["entries"][-4:]


def _other_run(tree):
    tree["run"] = FALSE
    for signed in tree["entries"]:
        signed["entry"]["run"] = FALSE


def _dearer(tree):
    for signed in tree["entries"]:
        event = signed["entry"]["event"]
        for name in ("epsilon_before", "epsilon_after"):
            if event.get(name) is not None:
                event[name] = 1e6


def _longer_head(tree):
    head = tree["heads"][-1]["head"]
    head["head"] = head["head"] | {"size": 4000, "root": FALSE}


def _foreign_signature(tree):
    stranger = SigningKey(bytes([200] * 32))
    for signed in tree["entries"]:
        signed["entry"]["time"] = tree["entries"][0]["entry"]["time"]
        content = canonical_bytes(signed["entry"])
        signed["signature"] = stranger.sign(ENTRY_LABEL, content).hex()


def _other_agreement(tree):
    tree["agreement"]["agreement"]["name"] += " 2"


def _hour_before(time):
    return to_timestamp(from_timestamp(time) - timedelta(hours=1))


def _earlier_by_an_hour(tree):
    _other_run(tree)
    for signed in tree["entries"]:
        signed["entry"]["time"] = _hour_before(signed["entry"]["time"])


def _more_units(tree):
    tree["openings"] = [{"member": _first(tree), "units": 10**9, "salt": "00" * 32}]


def _revoked(tree):
    statement = {"previous": FALSE, "member": _first(tree), "identity": FALSE}
    signed = {"statement": {"kind": "revocation"} | statement, "signatures": {}}
    tree["agreement"]["statements"] = [signed]


CRAFTED = {
    "nothing at all": lambda tree: tree.update(entries=[], heads=[], inclusion=[]),
    "no heads": _without_heads,
    "no entries": lambda tree: tree.update(entries=[]),
    "cut": _cut,
    "the same twice": lambda _: None,
    "every entry twice": lambda tree: tree.update(entries=tree["entries"] * 2),
    "turned round": lambda tree: tree.update(entries=tree["entries"][::-1]),
    "another run under old signatures": _other_run,
    "an earlier run under old signatures": _earlier_by_an_hour,
    "a dearer account": _dearer,
    "a longer head": _longer_head,
    "entries that a stranger signed": _foreign_signature,
    "another agreement": _other_agreement,
    "an opening of too many units": _more_units,
    "a revocation that nobody signed": _revoked,
    "another result": lambda tree: tree["claims"].update(model=FALSE),
    "a time in the future": lambda tree: tree.update(created="2099-01-01T00:00:00Z"),
}
"""Changes of a bundle's JSON, by what they make of it."""
