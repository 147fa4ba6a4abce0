"""Writes the committed vectors of the primitives.

    PYTHONPATH=tests python -m protocols.generate.primitives

A vector is a JSON object with hexadecimal bytes and plain integers. A file named `*_bad_*`
holds inputs that an implementation must refuse, and who is to blame for them: `local` for a
caller's mistake, `remote` for a peer's. All entropy is the AES-256-CTR keystream of the seed
given in the vector, so that a second implementation can follow every draw.
"""

import json
import sys
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np

from securefl_protocols.encoding.fixed_point import FixedPoint
from securefl_protocols.primitives.entropy import DeterministicEntropy
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.prg import add_keystream
from securefl_protocols.primitives.ring import RingDtype, RingVector
from securefl_protocols.primitives.sealing import seal
from securefl_protocols.primitives.shamir import PRIME, share_to_bytes, split
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.session.graph import neighbour_graph, smallest_degree
from securefl_protocols.session.masking import mask, pairwise_mask_key, self_mask_key
from support.paths import VECTOR_FOLDER

SEED = sha256(b"securefl test vectors: anybody knows this seed").digest()
CONTEXT = sha256(b"securefl test vectors: context").digest()
Vector = dict[str, Any]


def secret(name: str) -> bytes:
    """Returns 32 bytes that are a secret in a vector and nowhere else."""
    return sha256(b"securefl test vectors: " + name.encode()).digest()


def shamir() -> Vector:
    cases = []
    for members, threshold in ((3, 3), (5, 3), (4, 2), (10, 7)):
        secrets = [secret("shared 0"), secret("shared 1"), b"\xff" * 32]
        shares = split(secrets, members, threshold, DeterministicEntropy(SEED))
        rows = [[share_to_bytes(share).hex() for share in member] for member in shares]
        cases.append(
            {
                "members": members,
                "threshold": threshold,
                "secrets": [value.hex() for value in secrets],
                "entropy_seed": SEED.hex(),
                "shares_of_member": rows,
            }
        )
    return {"prime": PRIME, "limb_bits": 31, "cases": cases}


def shamir_bad_shares() -> Vector:
    valid = split([secret("shared 0")], 3, 3, DeterministicEntropy(SEED))
    shares = [share_to_bytes(member[0]) for member in valid]
    head = (int.from_bytes(shares[1][:4], "big") + 2**20) % PRIME
    tampered = [shares[0], head.to_bytes(4, "big") + shares[1][4:], shares[2]]
    return {
        "cases": [
            case("a share is short", "remote", xs=[1], shares=[shares[0][:-1].hex()]),
            case("a share is long", "remote", xs=[1], shares=[shares[0].hex() + "00"]),
            case(
                "a limb is not below the prime",
                "remote",
                xs=[1],
                shares=[(PRIME.to_bytes(4, "big") + shares[0][4:]).hex()],
            ),
            case(
                "a tampered share leads out of the limbs",
                "remote",
                xs=[1, 2, 3],
                shares=[share.hex() for share in tampered],
            ),
            case(
                "two shares of one member",
                "local",
                xs=[1, 1, 2],
                shares=[shares[0].hex(), shares[0].hex(), shares[1].hex()],
            ),
        ]
    }


def case(why: str, blame: str, **inputs: object) -> Vector:
    """Returns one input to refuse, with the reason and who is to blame."""
    return {"why": why, "blame": blame, **inputs}


def residues(vector: RingVector, lane: RingDtype) -> list[int]:
    """The numbers modulo 2^b, from 0 on."""
    return [number % (1 << lane) for number in vector.tolist()]


def prg() -> Vector:
    cases = []
    for lane in RingDtype:
        for words, sign in ((1, 1), (9, 1), (9, -1)):
            vector = (np.arange(words, dtype=np.uint64) * 2**31).astype(lane.dtype)
            before = residues(vector, lane)
            add_keystream(vector, secret("mask"), 1 if sign == 1 else -1)
            cases.append(
                {
                    "lane": int(lane),
                    "key": secret("mask").hex(),
                    "sign": sign,
                    "before": before,
                    "after": residues(vector, lane),
                }
            )
    return {"cases": cases}


def prg_bad_masks() -> Vector:
    return {
        "cases": [
            case("a key of 16 bytes", "local", lane=32, key="00" * 16, sign=1),
            case("a sign that is none", "local", lane=32, key="00" * 32, sign=0),
        ]
    }


def key_agreement() -> Vector:
    one, two = ExchangeKey(secret("exchange 0")), ExchangeKey(secret("exchange 1"))
    shared = one.shared_secret(two.public)
    return {
        "private": [one.private_bytes().hex(), two.private_bytes().hex()],
        "public": [one.public.hex(), two.public.hex()],
        "shared_secret": shared.hex(),
        "context": CONTEXT.hex(),
        "label": b"securefl/1/vector".hex(),
        "derived_key": derive_key(shared, label=b"securefl/1/vector", context=CONTEXT).hex(),
    }


def key_agreement_bad_points() -> Vector:
    prime = 2**255 - 19
    low_order = "a point of low order"
    points = [
        (low_order, 0),
        (low_order, 1),
        (low_order, prime - 1),
        ("zero, not reduced", prime),
        ("nine, not reduced", prime + 9),
        ("nine with the top bit set", 2**255 + 9),
    ]
    cases = [case(why, "remote", public=u.to_bytes(32, "little").hex()) for why, u in points]
    cases.append(case("a key of 31 bytes", "remote", public="09" + "00" * 30))
    return {"private": secret("exchange 0").hex(), "cases": cases}


def sealing() -> Vector:
    bound = b"securefl/1/vector" + CONTEXT
    return {
        "key": secret("seal").hex(),
        "nonce": "00" * 11 + "01",
        "associated_data": bound.hex(),
        "plaintext": secret("plain").hex(),
        "sealed": seal(secret("seal"), secret("plain"), bound, bytes(11) + b"\x01").hex(),
    }


def sealing_bad_boxes() -> Vector:
    good = sealing()
    sealed = bytes.fromhex(good["sealed"])
    return {
        "cases": [
            good | case("a bit was turned", "remote", sealed=flip(sealed).hex()),
            good | case("the tag is cut off", "remote", sealed=sealed[:-16].hex()),
            good | case("bound to something else", "remote", associated_data=CONTEXT.hex()),
            good | case("another nonce", "remote", nonce="00" * 12),
            good | case("another key", "remote", key=secret("other").hex()),
            good | case("a nonce of 8 bytes", "local", nonce="00" * 8),
        ]
    }


def flip(data: bytes) -> bytes:
    """Turns the lowest bit of the first byte."""
    return bytes([data[0] ^ 1]) + data[1:]


def signing() -> Vector:
    key = SigningKey(secret("identity"))
    domain, message = b"securefl/1/vector", CONTEXT
    return {
        "private": key.private_bytes().hex(),
        "public": key.public.hex(),
        "domain": domain.hex(),
        "message": message.hex(),
        "signature": key.sign(domain, message).hex(),
    }


def signing_bad_signatures() -> Vector:
    good = signing()
    moved = b"securefl/1/vecto"
    message = (b"r" + CONTEXT).hex()
    return {
        "cases": [
            good | case("another message", "remote", message=flip(CONTEXT).hex()),
            good | case("domain runs on", "remote", domain=moved.hex(), message=message),
            good | case("a changed signature", "remote", signature="00" * 64),
            good | case("a short signature", "remote", signature=good["signature"][:-2]),
            good | case("another signer", "remote", public=SigningKey(bytes(32)).public.hex()),
        ]
    }


def masking() -> Vector:
    """Member 1 of four, in all lanes, on an input of eight words."""
    pairs = {
        neighbour: pairwise_mask_key(
            secret(f"pair {neighbour}"), context=CONTEXT, member=1, neighbour=neighbour
        )
        for neighbour in (0, 2, 3)
    }
    own = self_mask_key(secret("self seed"), context=CONTEXT, member=1)
    masked = {}
    for lane in RingDtype:
        vector = np.arange(8).astype(lane.dtype)
        mask(vector, member=1, self_key=own, pairwise_keys=pairs)
        masked[str(int(lane))] = residues(vector, lane)
    return {
        "member": 1,
        "context": CONTEXT.hex(),
        "pair_secrets": {str(j): secret(f"pair {j}").hex() for j in pairs},
        "pairwise_mask_keys": {str(j): key.hex() for j, key in pairs.items()},
        "self_seed": secret("self seed").hex(),
        "self_mask_key": own.hex(),
        "input": list(range(8)),
        "masked_by_lane": masked,
    }


def encoding() -> Vector:
    update = [0.0, 1.0, -1.0, 0.1, -0.3333333432674408, 2.0, -2.0, 2.384185791015625e-07]
    cases = []
    for lane in RingDtype:
        form = FixedPoint.finest(members=5, max_weight=1000, limit=2.0, ring=lane)
        weights = [1, 37, 1000]
        encoded = [form.encode(np.array(update, dtype=np.float32), weight) for weight in weights]
        total = encoded[0] + encoded[1] + encoded[2]
        decoded = form.decode(total)
        cases.append(
            {
                "members": form.members,
                "max_weight": form.max_weight,
                "limit": form.limit,
                "lane": int(lane),
                "fraction_bits": form.fraction_bits,
                "scale": form.scale,
                "update": update,
                "weights": weights,
                "encoded": [residues(vector, lane) for vector in encoded],
                "sum": residues(total, lane),
                "mean": decoded.mean.tolist(),
                "total_weight": decoded.total_weight,
                "error_bound": form.error_bound(3, decoded.total_weight),
            }
        )
    return {"cases": cases}


def encoding_bad_updates() -> Vector:
    form = {"members": 5, "max_weight": 1000, "limit": 2.0, "lane": 32, "fraction_bits": 17}
    return {
        "cases": [
            form | case("beyond the limit", "local", update=["2.0000002"], weight=1),
            form | case("below the limit", "local", update=["0", "-2.0000002"], weight=1),
            form | case("not a number", "local", update=["nan"], weight=1),
            form | case("infinite", "local", update=["-inf"], weight=1),
            form | case("too heavy", "local", update=["1"], weight=1001),
            form | case("the sum could wrap", "local", update=["1"], weight=1, fraction_bits=18),
        ]
    }


def graph() -> Vector:
    rows = [(100, 0.05, 0.05), (1000, 0.05, 0.05), (100, 0.33, 0.05), (1000, 0.33, 0.05)]
    return {
        "seed": SEED.hex(),
        "graphs": [
            {"members": n, "degree": k, "neighbours": neighbour_graph(n, k, SEED)}
            for n, k in ((4, 3), (7, 4), (12, 6))
        ],
        "smallest_degrees": [
            {"members": n, "gamma": g, "delta": d, "degree_and_threshold": smallest_degree(n, g, d)}
            for n, g, d in rows
        ],
    }


def graph_bad_degrees() -> Vector:
    return {
        "seed": SEED.hex(),
        "cases": [
            case("no neighbours", "local", members=10, degree=0),
            case("odd, and not complete", "local", members=10, degree=3),
            case("more neighbours than others", "local", members=10, degree=10),
        ],
    }


VECTORS: tuple[Callable[[], Vector], ...] = (
    shamir,
    shamir_bad_shares,
    prg,
    prg_bad_masks,
    key_agreement,
    key_agreement_bad_points,
    sealing,
    sealing_bad_boxes,
    signing,
    signing_bad_signatures,
    masking,
    encoding,
    encoding_bad_updates,
    graph,
    graph_bad_degrees,
)


def files() -> dict[str, str]:
    """Returns the text of every vector file by its name."""
    return {f"{make.__name__}.json": json.dumps(make(), indent=1) + "\n" for make in VECTORS}


def main() -> None:
    """Writes every file."""
    for name, text in files().items():
        (VECTOR_FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
