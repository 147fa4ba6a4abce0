"""Writes the committed vectors of whole sessions.

    PYTHONPATH=tests python -m protocols.generate.sessions

A vector holds what every party starts from (the plan, the identity keys, the entropy of each
member as the seed of an AES-256-CTR keystream, the inputs) and every message in the order of
the steps. `session_bad_messages.json` holds messages that must be refused: by a member in the
state it has after the messages before it, or by the coordinator in the given step.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.session.dropouts import ServerStep
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.results import RoundResult
from securefl_protocols.wire.roster import members_to_bits
from support.paths import VECTOR_FOLDER
from support.session_driver import (
    MODEL,
    Consortium,
    Exchange,
    chains,
    changed,
    inputs,
    layer_secret,
    small_plan,
    told,
)

Vector = dict[str, Any]
ROUND_STEPS = (ServerStep.SHARE, ServerStep.MASK, ServerStep.CONSISTENCY, ServerStep.UNMASK)

ONE_ROUND = small_plan(5, dimension=4)
MANY_ROUNDS = small_plan(4, dimension=3, rounds=2, min_members=3)
SPARSE = replace(
    small_plan(7, dimension=3, min_members=5),
    degree=4,
    threshold=3,
)
NARROW = small_plan(3, dimension=5, ring=RingDtype.UINT24)
NARROWEST = small_plan(3, dimension=5, ring=RingDtype.UINT16, largest_input=10_000)
LAYERS = small_plan(7, dimension=2, layered=True)
SESSIONS: dict[str, tuple[SessionPlan, list[dict[ServerStep, list[int]]]]] = {
    "session_one_round": (ONE_ROUND, [{ServerStep.MASK: [2]}]),
    "session_24_bits": (NARROW, [{}]),
    "session_16_bits": (NARROWEST, [{}]),
    "session_many_rounds": (MANY_ROUNDS, [{}, {ServerStep.MASK: [1]}]),
    "session_sparse": (SPARSE, [{ServerStep.MASK: [6]}]),
    "session_layers": (LAYERS, [{ServerStep.MASK: [1], ServerStep.UNMASK: [3]}]),
}


def hexadecimal(messages: dict[int, bytes]) -> dict[str, str]:
    return {str(member): messages[member].hex() for member in sorted(messages)}


def described(plan: SessionPlan, consortium: Consortium) -> Vector:
    numbers = {
        name: getattr(plan, name)
        for name in (
            "members",
            "threshold",
            "degree",
            "dimension",
            "largest_input",
            "rounds",
            "min_members",
            "layers",
        )
    }
    return {
        "plan": numbers | {"ring": plan.ring.value, "terms": plan.terms.hex()},
        "plan_digest": plan.digest().hex(),
        "consortium": consortium.agreement.hex(),
        "run_id": consortium.run_id.hex(),
        "model": MODEL.hex(),
        "identity_private_keys": [key.private_bytes().hex() for key in consortium.identities],
        "entropy_seeds": [consortium.entropy_seed(member).hex() for member in range(plan.members)],
    }


def step_of(exchange: Exchange, name: str, silent: list[int]) -> Vector:
    sent = {i: m for i, m in exchange.outbox.items() if i not in silent}
    heard = exchange.step(silent)
    return {"step": name, "sent": hexadecimal(sent), "told": hexadecimal(heard)}


def session(name: str) -> Vector:
    plan, rounds = SESSIONS[name]
    consortium = Consortium(plan)
    exchange = Exchange.of(consortium)
    exchange.outbox = {i: client.start(1, MODEL) for i, client in enumerate(exchange.clients)}
    vector = described(plan, consortium)
    vector["opening"] = [step_of(exchange, "ADVERTISE", [])]
    if plan.awaits_draw:
        vector["opening"].append(step_of(exchange, "REVEAL", []))
    vector["rounds"] = []
    for number, drops in enumerate(rounds, 1):
        vectors = inputs(plan, seed=number)
        exchange.layers = chains(plan, number)
        exchange.begin(vectors, number)
        steps = [step_of(exchange, step.name, drops.get(step, [])) for step in ROUND_STEPS]
        result = exchange.server.result()
        vector["rounds"].append(
            {
                "number": number,
                "context": consortium.context.of_round(number, MODEL).hex(),
                "inputs": [own.view(plan.ring.signed_dtype).tolist() for own in vectors],
                "steps": steps,
                "survivors": list(result.survivors),
                "total": result.total.view(plan.ring.signed_dtype).tolist(),
                "transcript_digest": exchange.server.transcript().digest().hex(),
            }
            | _layers(plan, number, result)
        )
    return vector


def _layers(plan: SessionPlan, number: int, result: RoundResult) -> Vector:
    if not plan.layers:
        return {}
    secrets = [layer_secret(member, number).hex() for member in range(plan.members)]
    opened = {str(m): [key.hex() for key in keys] for m, keys in sorted(result.opened.items())}
    return {"layer_secrets": secrets, "opened_keys": opened}


def flip(data: bytes, place: int = -1) -> bytes:
    at = place % len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def bad_for_a_member() -> list[Vector]:
    """Messages to member 0, each after the given number of good ones."""
    good = [exchange_told[0] for exchange_told in told_of_one_round()]
    key_list, shares, survivors, signatures, total = good
    rows = dict(told(survivors).survivors)
    others = {i: row for i, row in rows.items() if i != 0}
    fewer = {i: row for i, row in rows.items() if i < 2}
    three = dict(list(told(signatures).signatures.items())[:3])
    fewer_keys = {i: row for i, row in told(key_list).keys.items() if i != 3}
    twice = dict(told(key_list).keys) | {3: told(key_list).keys[4]}
    cases: list[tuple[int, str, bytes]] = [
        (0, "a bit of a signature flipped", changed(key_list, keys=flip_row(key_list, 3))),
        (0, "a member left out of the keys", changed(key_list, keys=fewer_keys)),
        (0, "one member's keys under two indices", changed(key_list, keys=twice)),
        (0, "shares before keys", shares),
        (0, "truncated", key_list[:-1]),
        (0, "a byte too many", key_list + b"\x00"),
        (0, "another version", b"\x01" + key_list[1:]),
        (1, "a bit of a box flipped", flip(shares)),
        (1, "a sharer who did not share", changed(shares, cohort=members_to_bits([0, 1, 2], 5))),
        (1, "keys once more, changed", changed(key_list, cohort=members_to_bits(range(4), 5))),
        (2, "we are left out", changed(survivors, survivors=others)),
        (2, "fewer survivors than allowed", changed(survivors, survivors=fewer)),
        (2, "a survivor outside the roster", changed(survivors, survivors=rows | {5: bytes(32)})),
        (2, "our masked input changed", changed(survivors, survivors=rows | {0: bytes(32)})),
        (2, "another round", changed(survivors, round=2)),
        (3, "too few signatures", changed(signatures, signatures=three)),
        (3, "a bit of a signature flipped", flip(signatures)),
        (3, "another survivor set", changed(survivors, survivors=rows | {2: bytes(32)})),
        (4, "a bit of the sum flipped", flip(total, -30)),
        (4, "signatures once more, fewer", changed(signatures, signatures=three)),
    ]
    return [{"after": after, "why": why, "message": data.hex()} for after, why, data in cases]


def flip_row(message: bytes, member: int) -> dict[int, bytes]:
    rows = dict(told(message).keys)
    return rows | {member: flip(rows[member])}


def told_of_one_round() -> list[dict[int, bytes]]:
    exchange = Exchange.of(Consortium(ONE_ROUND))
    exchange.outbox = {i: client.start(1, MODEL) for i, client in enumerate(exchange.clients)}
    heard = [exchange.step()]
    exchange.begin(inputs(ONE_ROUND, seed=1))
    silent = SESSIONS["session_one_round"][1][0]
    return heard + [exchange.step(silent.get(step, ())) for step in ROUND_STEPS]


def bad_for_the_coordinator() -> list[Vector]:
    """Messages of member 1 in each step, and what it is dropped for."""
    exchange = Exchange.of(Consortium(ONE_ROUND))
    exchange.outbox = {i: client.start(1, MODEL) for i, client in enumerate(exchange.clients)}
    cases = []
    for step in (ServerStep.ADVERTISE, *ROUND_STEPS):
        good = exchange.outbox[1]
        for why, reason, data in (
            (
                "a bit of the body flipped",
                "BAD_SIGNATURE",
                flip(good, -20 if len(good) > 200 else -1),
            ),
            ("a bit of the signature flipped", "BAD_SIGNATURE", flip(good, 20)),
            ("truncated", "MALFORMED", good[: len(good) // 2]),
            ("in another's name", "MALFORMED", flip(good, 5)),
        ):
            cases.append({"step": step.name, "why": why, "reason": reason, "message": data.hex()})
        exchange.step()
        if step is ServerStep.ADVERTISE:
            exchange.begin(inputs(ONE_ROUND, seed=1))
    return cases


def bad_messages() -> Vector:
    return {
        "session": "session_one_round",
        "to_member_0": bad_for_a_member(),
        "from_member_1": bad_for_the_coordinator(),
    }


MAKERS: dict[str, Callable[[], Vector]] = {
    **{name: (lambda name=name: session(name)) for name in SESSIONS},
    "session_bad_messages": bad_messages,
}


def text_of(name: str) -> str:
    """Returns what the file of a vector holds."""
    return json.dumps(MAKERS[name](), indent=1) + "\n"


def main() -> None:
    for name in MAKERS:
        (VECTOR_FOLDER / f"{name}.json").write_text(text_of(name), encoding="utf-8")


if __name__ == "__main__":
    main()
