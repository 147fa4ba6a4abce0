"""An independent verifier of the core of a bundle, written from bundle.md and nothing else.

It imports nothing of securefl: canonical JSON, digests, Merkle proofs, the Gaussian mechanism and
the replay of masked sums are its own. It answers with the first check that fails, in the order of
the document, or None.

    PYTHONPATH=tests python -m reference.verifier bundle.json
"""

import hashlib
import json
import math
import re
import sys
from pathlib import Path

from reference.canonical import Failed, digest, need, octets, signed, transcript_parts
from reference.canonical import transcript_digest as digest_of
from reference.replay import NotCovered, replayed

FIELDS = {
    *("format", "created", "run", "agreement", "entries", "heads", "inclusion", "transcripts"),
    *("openings", "claims"),
}
EVENTS = {
    "start": {
        *("kind", "config", "code", "code_version", "policy", "data_set", "unit", "delta"),
        *("accountant", "cap", "units", "epsilon_before", "history", "unprotected_before"),
    },
    "release": {
        *("kind", "round", "mode", "dp", "model_before", "threshold", "cohort", "mechanism"),
        *("delta", "epsilon_before", "epsilon_after", "repeat_of"),
    },
    "score-release": {
        *("kind", "round", "model", "scores", "threshold", "cohort", "mechanism", "delta"),
        *("epsilon_before", "epsilon_after"),
    },
    "outcome": {"kind", "round", "survivors", "model_after", "transcript"},
    "unseen-outcome": {"kind", "round"},
    "ballot": {
        *("kind", "round", "model", "ballot", "mechanism", "delta"),
        *("epsilon_before", "epsilon_after"),
    },
    "vote": {"kind", "round", "model", "ballots", "rejected"},
    "refusal": {"kind", "round", "reason", "asked", "allowed"},
    "refused-question": {"kind", "question", "phase", "reason"},
    "end": {"kind", "rounds", "epsilon_after"},
}
SOMETIMES = {
    "start": {"other_units", "start_model"},
    "outcome": {"layout"},
    "unseen-outcome": {"reason"},
}
ENTRY = {"version", "run", "agreement", "member", "sequence", "previous", "time", "event"}
ZEROS = "0" * 64


# Section 2: the form


def distinct(pairs):
    need(len({name for name, _ in pairs}) == len(pairs), "form", "a name stands twice")
    return dict(pairs)


def read(text):
    try:
        bundle = json.loads(text, object_pairs_hook=distinct)
    except ValueError as error:
        raise Failed("form", str(error)) from None
    need(isinstance(bundle, dict) and bundle.keys() == FIELDS, "form", "other fields")
    need(bundle["format"] == "securefl-audit/1", "form", "another format")
    for line in bundle["entries"]:
        need(line.keys() == {"entry", "signature"}, "form", "an entry has other fields")
        need(line["entry"].keys() == ENTRY, "form", "an entry has other fields")
        event = line["entry"]["event"]
        kind = event.get("kind")
        fields = event.keys() - SOMETIMES.get(kind, set())
        need(fields == EVENTS.get(kind), "form", "an event has other fields")
    rounds = [file["round"] for file in bundle["transcripts"]]
    need(len(set(rounds)) == len(rounds), "form", "a round's transcript stands twice")
    return bundle


# Section 3: the agreement


def agreement(bundle):
    """Check the quorum; return the digest that entries name, and the members' keys."""
    whole = bundle["agreement"]
    need(not whole["statements"], "agreement", "key changes are beyond this verifier")
    content = whole["agreement"]
    keys = {member["name"]: member["identity"] for member in content["members"]}
    need(len(set(keys.values())) == len(content["members"]), "agreement", "a key of two members")
    text = octets(content)
    for name, signature in whole["signatures"].items():
        need(name in keys, "agreement", f"{name} is no member")
        fits = signed(keys[name], signature, "securefl/1/agreement", text)
        need(fits, "agreement", f"the signature of {name}")
    need(len(whole["signatures"]) >= content["quorum"], "agreement", "no quorum")
    return digest("securefl/1/agreement", text).hex(), keys


# Section 4: entries and chains


def entries(bundle, agreed, keys):
    for line in bundle["entries"]:
        entry = line["entry"]
        named = (entry["run"], entry["agreement"]) == (bundle["run"], agreed)
        need(named and entry["member"] in keys, "members", f"an entry of {entry['member']}")
    for line in bundle["entries"]:
        key = keys[line["entry"]["member"]]
        fits = signed(key, line["signature"], "securefl/1/ledger-entry", octets(line["entry"]))
        need(fits, "entries", f"the signature of {line['entry']['member']}")


def chains(bundle):
    last = {}
    for line in bundle["entries"]:
        entry = line["entry"]
        sequence, previous = last.get(entry["member"], (-1, ZEROS))
        need(entry["sequence"] == sequence + 1, "chain", f"a gap of {entry['member']}")
        need(entry["previous"] == previous, "chain", f"a broken link of {entry['member']}")
        own = digest("securefl/1/ledger-entry", octets(entry)).hex()
        last[entry["member"]] = entry["sequence"], own


# Section 5: the log (RFC 9162, sections 2.1.1 to 2.1.4)


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root(leaves):
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node(root(leaves[:split]), root(leaves[split:]))


def consistency_path(leaves, old, complete=True):
    """PROOF and SUBPROOF of section 2.1.4.1, as hex."""
    size = len(leaves)
    if old == size:
        return [] if complete else [root(leaves).hex()]
    split = 1 << (size - 1).bit_length() - 1
    if old <= split:
        return [*consistency_path(leaves[:split], old, complete), root(leaves[split:]).hex()]
    return [*consistency_path(leaves[split:], old - split, False), root(leaves[:split]).hex()]


def inclusion_path(leaves, index):
    """PATH of section 2.1.3.1, as hex."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*inclusion_path(leaves[:split], index), root(leaves[split:]).hex()]
    return [*inclusion_path(leaves[split:], index - split), root(leaves[:split]).hex()]


def log(bundle, keys):
    leaves = [hashlib.sha256(b"\0" + octets(line)).digest() for line in bundle["entries"]]
    old = 0
    for linked in bundle["heads"]:
        head = linked["head"]["head"]
        size = head["size"]
        need(head["run"] == bundle["run"], "log", "a head of another run")
        need(old <= size <= len(leaves), "log", "a head beyond the entries")
        need(root(leaves[:size]).hex() == head["root"], "log", f"the root over {size} entries")
        path = consistency_path(leaves[:size], old) if old else []
        need(linked["consistency"] == path, "consistency", f"from {old} to {size} entries")
        old = size
    need(old == len(leaves), "log", "entries after the last head")
    last = {line["entry"]["member"]: place for place, line in enumerate(bundle["entries"])}
    for proof in bundle["inclusion"]:
        right = proof["index"] == last.get(proof["member"])
        need(right, "inclusion", f"not the last entry of {proof['member']}")
        path = inclusion_path(leaves, proof["index"])
        need(proof["proof"] == path, "inclusion", f"of {proof['member']}")
    for linked in bundle["heads"]:
        head, signatures = linked["head"]["head"], linked["head"]["signatures"]
        for name, signature in signatures.items():
            fits = name in keys and signed(
                keys[name], signature, "securefl/1/tree-head", octets(head)
            )
            need(fits, "heads", f"the signature of {name}")
    if bundle["heads"]:
        need(signatures.keys() >= last.keys(), "heads", "the last head lacks a member")


# Section 6: rounds and models


def last_accepted(bundle, place):
    """The last round before one whose model no vote rejected; 0 without one."""
    events = [line["entry"]["event"] for line in bundle["entries"]]
    rejected = {one["round"] for one in events if one["kind"] == "vote" and one["rejected"]}
    return max({0, *range(1, place)} - rejected)


def rounds(bundle):
    outcomes, models, before, scored, starts, unseen = {}, {}, {}, set(), set(), set()
    layouts = set()
    for line in bundle["entries"]:
        event, member = line["entry"]["event"], line["entry"]["member"]
        if event["kind"] == "start":
            starts |= {event["start_model"]} if "start_model" in event else set()
        if event["kind"] == "unseen-outcome":
            unseen.add((member, event["round"]))
        if event["kind"] == "release":
            before.setdefault(event["round"], set()).add(event["model_before"])
        if event["kind"] == "score-release":
            scored.add(event["model"])
        if event["kind"] == "outcome":
            saw = member in event["survivors"] and (member, event["round"]) not in unseen
            need(saw, "outcomes", f"{member} cannot have seen round {event['round']}")
            layouts.add(event.get("layout"))
            same = (event["survivors"], event["model_after"], event["transcript"])
            first = outcomes.setdefault(event["round"], same)
            need(same == first, "outcomes", f"two outcomes of round {event['round']}")
            models[event["round"]] = event["model_after"]
    for place in sorted(before):
        need(len(before[place]) == 1, "models", f"two models in round {place}")
        last = last_accepted(bundle, place)
        if last in models:
            need(before[place] == {models[last]}, "models", f"round {place} began elsewhere")
    need(len(starts) <= 1, "models", "members computed two starts")
    need(len(layouts) <= 1, "models", "rounds ended with models of different tensors")
    need(before.get(1, starts) == starts or not starts, "models", "round 1 began elsewhere")
    need(scored <= set(models.values()), "models", "the model that was scored comes from no round")
    need(len(scored) <= 1, "models", "members scored two models")
    if models and bundle["claims"]["model"] is not None:
        of_result = not scored or scored == {bundle["claims"]["model"]}
        need(of_result, "models", "another model is handed out than was scored")
        handed_out = bundle["claims"]["model"] in models.values()
        need(handed_out, "models", "the model handed out comes from no round")
    return {number: outcome[2] for number, outcome in outcomes.items()}


# Section 7: epsilon of the Gaussian mechanism without sampling


def gaussian_delta(epsilon, sigma):
    """Balle and Wang 2018, theorem 8, for sensitivity 1."""
    normal = lambda x: 0.5 * math.erfc(-x / math.sqrt(2))  # noqa: E731
    one, two = 1 / (2 * sigma) - epsilon * sigma, -1 / (2 * sigma) - epsilon * sigma
    return normal(one) - math.exp(epsilon + math.log(max(normal(two), 1e-320)))


def gaussian_epsilon(steps, delta):
    """The exact epsilon of steps (sigma, count) on all units, by bisection."""
    weight = sum(count / sigma**2 for sigma, count in steps)
    if not weight:
        return 0.0
    sigma, low, high = weight**-0.5, 0.0, 1.0
    while gaussian_delta(high, sigma) > delta:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_delta(middle, sigma) > delta else (low, middle)
    return high


def epsilons(bundle):
    spent = {}
    for line in bundle["entries"]:
        event, member = line["entry"]["event"], line["entry"]["member"]
        if event["kind"] == "start":
            spent[member] = list(event["history"])
        if event.get("mechanism") is None:  # of a release, of scores, or of a ballot
            continue
        steps = spent.setdefault(member, [])
        steps.append(event["mechanism"])
        if any(m["name"] != "sampled-gaussian" or m["sampling_rate"] != 1 for m in steps):
            continue
        pairs = [(m["noise_multiplier"], m["steps"]) for m in steps]
        exact = gaussian_epsilon(pairs, event["delta"])
        enough = event["epsilon_after"] is not None and event["epsilon_after"] >= exact * 0.999
        need(enough, "epsilon", f"{member}, round {event['round']}: it is {exact:.3f}")


# Section 8: transcripts


def transcripts(bundle, folder, recorded):
    """Check every file's digest; return what is in it, by round."""
    read = {}
    for file in bundle["transcripts"]:
        matches = recorded.get(file["round"]) == file["digest"]
        need(matches, "transcripts", "not the one that members signed")
        need(re.fullmatch(r"(\w[\w.-]*/)?\w[\w.-]*", file["file"]), "transcripts", "its name")
        parts = transcript_parts((folder / file["file"]).read_bytes())
        need(digest_of(*parts) == file["digest"], "transcripts", "another file")
        read[file["round"]] = parts
    return read


def check(path):
    """Return the first check that fails, or None, and why sums were not replayed, or None."""
    try:
        bundle = read(path.read_text(encoding="utf-8"))
        agreed, keys = agreement(bundle)
        entries(bundle, agreed, keys)
        chains(bundle)
        log(bundle, keys)
        recorded = rounds(bundle)
        epsilons(bundle)
        replayed(bundle, path.parent, transcripts(bundle, path.parent, recorded))
    except Failed as failure:
        return failure.check, None
    except NotCovered as reason:
        return None, str(reason)
    except (KeyError, TypeError, AttributeError):
        return "form", None
    return None, None


def verify(path):
    """Return the name of the first check that fails, or None."""
    return check(path)[0]


if __name__ == "__main__":
    failed, lacking = check(Path(sys.argv[1]))
    answer = f"fail: {failed}" if failed else f"pass, but {lacking}" if lacking else "pass"
    sys.stdout.write(f"{answer}\n")
    sys.exit(1 if failed else 3 if lacking else 0)
