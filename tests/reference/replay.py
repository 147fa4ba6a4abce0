"""Section 9 of bundle.md: masked sums, recomputed from transcripts, and the models of them.

The sum is unmasked by the reference's coordinator in plain integers; number format, mean and
server optimizer are written here from docs/specification/protocol.md, M37 to M42, M52 and M53.
"""

import math
import random
import re
import struct
from dataclasses import dataclass
from hashlib import sha256

from reference.basics import Plan, Refused, Setting, labelled
from reference.canonical import Failed, digest, need, octets
from reference.server import NoSum, Server


class NotCovered(Exception):
    """Why sums of this run are beyond this verifier; it is no fault of the bundle."""


# The cohort of a round (M40)


def cohort(agreement, number):
    """Return the members of a round, in roster order."""
    names = [member["name"] for member in agreement["members"]]
    settings, count = agreement["config"]["cohort"], len(names)
    size = min(count, max(settings["minimum"], math.ceil(settings["fraction"] * count)))
    state = sha256(b"securefl/1/seed")
    for part in (str(agreement["config"]["seed"]), "cohort", str(number)):
        state.update(len(part).to_bytes(4, "big") + part.encode())
    seed = int.from_bytes(state.digest()[:8], "big") >> 1
    chosen = random.Random(seed).sample(names, size)
    return [name for name in names if name in chosen]


# The number format (M41, M52, M53)


@dataclass(frozen=True)
class Format:
    """Lanes of b bits with f of them behind the point, for n members of weight at most w_max."""

    members: int
    heaviest: int
    limit: float
    bits: int
    fraction: int
    at_random: bool

    @property
    def largest_lane(self):
        return (1 << self.bits - 1) - 1

    @property
    def largest(self):
        """Q(f), the most that a member's coordinate is."""
        product = self.limit * math.ldexp(self.heaviest, self.fraction)
        return math.ceil(product) if self.at_random else round(product)

    def fits(self):
        units = self.limit * math.ldexp(self.heaviest, self.fraction)
        return units >= 1 and self.members * self.largest <= self.largest_lane

    def error(self, weight):
        """The most that a mean is off, where so much weight is in the sum."""
        units = (1.0 if self.at_random else 0.5) * self.members
        units /= math.ldexp(weight, self.fraction)
        return units * (1 + 2.0**-50) + self.limit * 2.0**-51

    @property
    def numbers(self):
        """Bits of a digit and how many digits, of the loss and of the weight (M53)."""
        found = []
        for most in (self.heaviest << 40, self.heaviest):
            if self.members * most <= self.largest_lane:
                found.append((most.bit_length(), 1, most))
                continue
            wide = (self.largest_lane // self.members + 1).bit_length() - 1
            found.append((wide, -(-most.bit_length() // wide), (1 << wide) - 1))
        return found

    @property
    def tail(self):
        return sum(count for _, count, _ in self.numbers)

    @property
    def largest_input(self):
        return max(self.largest, *(digit for _, _, digit in self.numbers))

    def mean(self, total):
        """Return the mean change of a sum of signed integers."""
        wide, count, _ = self.numbers[1]
        weight = sum(digit << wide * place for place, digit in enumerate(total[-count:]))
        possible = 1 <= weight <= self.members * self.heaviest
        need(possible, "sums", "the sum of the weights is not possible")
        unit = math.ldexp(weight, self.fraction)
        return [float(number) / unit for number in total[: len(total) - self.tail]]


def finest(config, members, bits):
    """The format with the largest f that does not wrap, or None."""
    secure = config["secure"]
    heaviest = secure["max_samples"] if config["privacy"]["dp"] == "none" else 1
    at_random = secure["rounding"] == "random" or (
        secure["rounding"] == "auto" and secure["bits"] == 16
    )
    for fraction in range(bits + 512, -512, -1):
        form = Format(members, heaviest, secure["limit"], bits, fraction, at_random and bits != 64)
        if members * form.largest <= form.largest_lane:
            return form if form.fits() else None
    return None


def number_format(config, members):
    """The format that every party computes from the agreement."""
    secure = config["secure"]
    if secure["bits"] != "auto":
        form = finest(config, members, secure["bits"])
        need(form, "sums", "numbers do not fit the lanes that were agreed")
        return form
    agreed = secure.get("tolerance")
    choices = (24, 32) if agreed is None else (24, 32, 64)
    allowed = secure["limit"] * 2.0**-13 if agreed is None else agreed
    for bits in choices:
        form = finest(config, members, bits)
        if form and bits != choices[-1]:
            each = max(1, secure["min_samples"], secure["expected_samples"])
            if form.error(members * min(form.heaviest, each)) <= allowed:
                return form
    need(form, "sums", "numbers do not fit any lanes")
    return form


# The sum (M36 to M38)


def session(bundle, names, form, dimension):
    """What a party knows before the session of these members, and not from the coordinator."""
    content, count = bundle["agreement"]["agreement"], len(names)
    agreed = digest("securefl/1/agreement", octets(content))
    threshold = 2 * count // 3 + 1
    terms = labelled(
        b"terms",
        agreed,
        *(name.encode() for name in names),
        dimension.to_bytes(8, "big"),
        form.fraction.to_bytes(4, "big", signed=True),
    )
    plan = Plan(
        members=count,
        threshold=threshold,
        degree=count - 1,
        dimension=dimension + form.tail,
        bits=form.bits,
        largest_input=form.largest_input,
        rounds=content["config"]["secure"]["rounds_per_session"],
        min_members=max(threshold, content["config"]["cohort"]["minimum"]),
        terms=terms,
    )
    keys = {m["name"]: bytes.fromhex(m["identity"]) for m in content["members"]}
    identities = tuple(keys[name] for name in names)
    return Setting(plan, identities, agreed, bytes.fromhex(bundle["run"]))


def sum_of(setting, opening, this, steps):
    """Return the sum and the places of its survivors, from what the members signed."""
    need(len(steps) == 5, "sums", "a draw in a complete graph")
    try:
        server = Server(setting, *opening)
        for place, messages in enumerate(steps):
            if place == 1:
                server.begin_round(*this)
            for member in sorted(messages):
                taken = member < setting.plan.members and server.receive(member, messages[member])
                need(taken, "sums", f"a message of member {member} in step {place + 1}")
            server.end_step()
    except (Refused, NoSum) as error:
        raise Failed("sums", str(error)) from None
    except (KeyError, IndexError, ValueError) as error:
        raise Failed("sums", f"no message of the protocol: {error}") from None
    return server.sum, sorted(server.survivors)


# The next model (M42)


class Optimizer:
    """FedAvg, FedAvgM and FedAdam in float64, with one rounding to float32 at the end."""

    def __init__(self, settings, dimension):
        self.settings = settings
        self.first, self.second = [0.0] * dimension, [0.0] * dimension

    def direction(self, change):
        name, beta = self.settings["optimizer"], self.settings["momentum"]
        if name == "fedavg":
            return change
        part = 1.0 if name == "fedavgm" else 1 - beta
        self.first = [m * beta + part * d for m, d in zip(self.first, change, strict=True)]
        if name == "fedavgm":
            return self.first
        need(name == "fedadam", "models-from-sums", "an optimizer that the page does not have")
        beta = self.settings["second_moment"]
        self.second = [
            s * beta + (1 - beta) * (d * d) for s, d in zip(self.second, change, strict=True)
        ]
        epsilon = self.settings["epsilon"]
        pairs = zip(self.first, self.second, strict=True)
        return [m / (math.sqrt(s) + epsilon) for m, s in pairs]

    def apply(self, shared, change):
        """Return the next model as float32, little-endian."""
        before = struct.unpack(f"<{len(shared) // 4}f", shared)
        rate = self.settings["learning_rate"]
        moved = [rate * v + x for v, x in zip(self.direction(change), before, strict=True)]
        try:
            return struct.pack(f"<{len(moved)}f", *moved)
        except OverflowError:
            raise Failed("models-from-sums", "a coordinate beyond float32") from None


# All rounds


def replayed(bundle, folder, transcripts):
    """Recompute each sum that has a transcript, and each model as far as sums lead.

    Raises:
        Failed: A check of section 9 fails.
        NotCovered: Nothing fails, but not every model was recomputed.
    """
    config = bundle["agreement"]["agreement"]["config"]
    events = [line["entry"]["event"] for line in bundle["entries"]]
    before = {e["round"]: e["model_before"] for e in events if e["kind"] == "release"}
    ends = {e["round"]: e for e in events if e["kind"] == "outcome"}
    covered(bundle, config, ends)
    shared = start_model(bundle, folder, before)
    optimizer, missing = Optimizer(config["server"], len(shared) // 4), []
    for number in sorted(ends):
        if number not in transcripts:
            missing.append(number)
            continue
        need(number in before, "sums", f"no member recorded a release of round {number}")
        parts, model = transcripts[number], bytes.fromhex(before[number])
        need(parts[1] == (number, model), "sums", f"of another round or model than {number}")
        change = change_of(bundle, number, ends[number], parts, len(shared) // 4)
        if not missing:
            shared = optimizer.apply(shared, change)
            same = digest("securefl/1/model", shared).hex() == ends[number]["model_after"]
            need(same, "models-from-sums", f"of round {number}")
    if missing:
        raise NotCovered(f"there is no transcript of round {missing[0]}")


def covered(bundle, config, ends):
    """Say what is beyond this verifier."""
    if config["mode"] != "secure":
        raise NotCovered("sums were not masked")
    if config["privacy"]["dp"] not in {"none", "local"}:
        raise NotCovered("sums with noise shares are not replayed")
    if any(len(cohort(bundle["agreement"]["agreement"], number)) > 100 for number in ends):
        raise NotCovered("sums over a sparse graph are not replayed")
    if ends and bundle["claims"]["start_model"] is None:
        raise NotCovered("there is no model to start from")


def start_model(bundle, folder, before):
    """Return the bytes of the model before the first round that was recorded."""
    name = bundle["claims"]["start_model"]
    if name is None:
        return b""
    need(re.fullmatch(r"(\w[\w.-]*/)?\w[\w.-]*", name), "models-from-sums", "its name")
    if not (folder / name).is_file():
        raise NotCovered("there is no model to start from")
    shared = (folder / name).read_bytes()
    right = len(shared) == 4 * bundle["claims"]["dimension"] and (
        not before or digest("securefl/1/model", shared).hex() == before[min(before)]
    )
    need(right, "models-from-sums", "the file is not the model that members started from")
    return shared


def change_of(bundle, number, outcome, parts, dimension):
    """Return the mean change of a round's sum, over the survivors that members recorded."""
    content = bundle["agreement"]["agreement"]
    names = cohort(content, number)
    form = number_format(content["config"], len(names))
    total, places = sum_of(session(bundle, names, form, dimension), *parts)
    survivors = [names[place] for place in places]
    need(survivors == outcome["survivors"], "sums", f"other survivors in round {number}")
    return form.mean(total)
