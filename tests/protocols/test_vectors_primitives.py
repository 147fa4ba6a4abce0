"""The committed vectors: made again they are the same, and every bad one is refused."""

import json

import numpy as np
import pytest

from protocols.generate import primitives
from securefl_protocols.encoding.fixed_point import FixedPoint
from securefl_protocols.primitives import prg, shamir
from securefl_protocols.primitives.entropy import DeterministicEntropy
from securefl_protocols.primitives.errors import LocalProtocolError, RemoteProtocolError
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.primitives.sealing import seal, unseal
from securefl_protocols.primitives.signing import SigningKey, verify
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.session.graph import neighbour_graph, smallest_degree
from securefl_protocols.session.masking import mask, pairwise_mask_key, self_mask_key
from support.paths import VECTOR_FOLDER

BLAME = {"local": LocalProtocolError, "remote": RemoteProtocolError}


def load(name):
    return json.loads((VECTOR_FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def bad(name):
    cases = load(name)["cases"]
    assert cases
    return [pytest.param(case, id=case["why"].replace(" ", "-")) for case in cases]


def raw(case, *names):
    return [bytes.fromhex(case[name]) for name in names]


def test_the_program_makes_the_committed_files():
    made = primitives.files()
    assert len(made) == 15
    for name, text in made.items():
        assert (VECTOR_FOLDER / name).read_text(encoding="utf-8") == text, name


@pytest.mark.parametrize("case", load("shamir")["cases"])
def test_shamir(case):
    secrets = [bytes.fromhex(secret) for secret in case["secrets"]]
    members, threshold = case["members"], case["threshold"]
    rows = [[bytes.fromhex(share) for share in member] for member in case["shares_of_member"]]
    shares = np.array([[shamir.share_from_bytes(share) for share in row] for row in rows])
    entropy = DeterministicEntropy(bytes.fromhex(case["entropy_seed"]))
    assert np.array_equal(shamir.split(secrets, members, threshold, entropy), shares)
    last = range(members - threshold + 1, members + 1)
    assert shamir.combine(list(last), shares[-threshold:]) == secrets
    assert by_hand(list(last), rows[-threshold:]) == secrets


def by_hand(xs, rows):
    """Interpolates the bytes of the vector at zero with nothing but Python integers."""
    prime, secrets = load("shamir")["prime"], []
    for secret in range(len(rows[0])):
        number = 0
        for limb in range(9):
            total = 0
            for x, row in zip(xs, rows, strict=True):
                term = int.from_bytes(row[secret][4 * limb : 4 * limb + 4], "big")
                for other in xs:
                    if other != x:
                        term = term * other * pow(other - x, -1, prime) % prime
                total += term
            number = number << 31 | total % prime
        secrets.append(number.to_bytes(32, "big"))
    return secrets


@pytest.mark.parametrize("case", bad("shamir_bad_shares"))
def test_shamir_bad(case):
    with pytest.raises(BLAME[case["blame"]]):
        rebuild(case["xs"], [bytes.fromhex(share) for share in case["shares"]])


def rebuild(xs, shares):
    limbs = [shamir.share_from_bytes(share) for share in shares]
    return shamir.combine(xs, np.array(limbs)[:, None, :])


def residues(vector, lane):
    """The numbers modulo 2^b: what is above the bits of a ring says nothing."""
    return [number % (1 << lane) for number in vector.tolist()]


@pytest.mark.parametrize("case", load("prg")["cases"])
def test_prg(case):
    vector = np.array(case["before"], dtype=RingDtype(case["lane"]).dtype)
    prg.add_keystream(vector, bytes.fromhex(case["key"]), case["sign"])
    assert residues(vector, case["lane"]) == case["after"]


@pytest.mark.parametrize("case", bad("prg_bad_masks"))
def test_prg_bad(case):
    vector = np.zeros(4, dtype=RingDtype(case["lane"]).dtype)
    with pytest.raises(BLAME[case["blame"]]):
        prg.add_keystream(vector, bytes.fromhex(case["key"]), case["sign"])


def test_key_agreement():
    vector = load("key_agreement")
    one, two = (ExchangeKey(bytes.fromhex(private)) for private in vector["private"])
    shared, label, context = raw(vector, "shared_secret", "label", "context")
    assert [one.public.hex(), two.public.hex()] == vector["public"]
    assert one.shared_secret(two.public) == two.shared_secret(one.public) == shared
    assert derive_key(shared, label=label, context=context).hex() == vector["derived_key"]


@pytest.mark.parametrize("case", bad("key_agreement_bad_points"))
def test_key_agreement_bad(case):
    key = ExchangeKey(bytes.fromhex(load("key_agreement_bad_points")["private"]))
    with pytest.raises(BLAME[case["blame"]]):
        key.shared_secret(bytes.fromhex(case["public"]))


BOX = ("key", "sealed", "associated_data", "nonce")


def test_sealing():
    vector = load("sealing")
    key, sealed, bound, nonce = raw(vector, *BOX)
    plaintext = bytes.fromhex(vector["plaintext"])
    assert seal(key, plaintext, bound, nonce) == sealed
    assert unseal(key, sealed, bound, nonce) == plaintext


@pytest.mark.parametrize("case", bad("sealing_bad_boxes"))
def test_sealing_bad(case):
    with pytest.raises(BLAME[case["blame"]]):
        unseal(*raw(case, *BOX))


def test_signing():
    vector = load("signing")
    public, signature, domain, message = raw(vector, "public", "signature", "domain", "message")
    key = SigningKey(bytes.fromhex(vector["private"]))
    assert key.public == public
    assert key.sign(domain, message) == signature
    verify(public, signature, domain, message)


@pytest.mark.parametrize("case", bad("signing_bad_signatures"))
def test_signing_bad(case):
    with pytest.raises(BLAME[case["blame"]]):
        verify(*raw(case, "public", "signature", "domain", "message"))


def test_masking():
    case = load("masking")
    context, seed = raw(case, "context", "self_seed")
    member = case["member"]
    own = self_mask_key(seed, context=context, member=member)
    pairs = {
        int(j): pairwise_mask_key(
            bytes.fromhex(secret), context=context, member=member, neighbour=int(j)
        )
        for j, secret in case["pair_secrets"].items()
    }
    assert own.hex() == case["self_mask_key"]
    assert {str(j): key.hex() for j, key in pairs.items()} == case["pairwise_mask_keys"]
    for lane, masked in case["masked_by_lane"].items():
        vector = np.array(case["input"], dtype=RingDtype(int(lane)).dtype)
        mask(vector, member=member, self_key=own, pairwise_keys=pairs)
        assert residues(vector, int(lane)) == masked


def form_of(case):
    return FixedPoint(
        members=case["members"],
        max_weight=case["max_weight"],
        limit=case["limit"],
        ring=RingDtype(case["lane"]),
        fraction_bits=case["fraction_bits"],
    )


@pytest.mark.parametrize("case", load("encoding")["cases"])
def test_encoding(case):
    form = form_of(case)
    update = np.array(case["update"], dtype=np.float32)
    vectors = [form.encode(update, weight) for weight in case["weights"]]
    assert [residues(vector, case["lane"]) for vector in vectors] == case["encoded"]
    modulus = 1 << case["lane"]
    sums = [sum(column) % modulus for column in zip(*case["encoded"], strict=True)]
    assert sums == case["sum"]
    decoded = form.decode(form.ring.reduce(np.array(sums, dtype=form.ring.dtype)))
    assert decoded.mean.tolist() == case["mean"]
    assert decoded.total_weight == case["total_weight"] == sum(case["weights"])
    assert form.scale == case["scale"]
    assert form.error_bound(len(vectors), decoded.total_weight) == case["error_bound"]
    # The members have one update: its mean is the update.
    assert np.abs(decoded.mean - update).max() <= case["error_bound"]


@pytest.mark.parametrize("case", bad("encoding_bad_updates"))
def test_encoding_bad(case):
    update = np.array([float(number) for number in case["update"]], dtype=np.float32)
    with pytest.raises(BLAME[case["blame"]]):
        form_of(case).encode(update, case["weight"])


def test_graph():
    vector = load("graph")
    seed = bytes.fromhex(vector["seed"])
    for case in vector["graphs"]:
        graph = neighbour_graph(case["members"], case["degree"], seed)
        assert [list(row) for row in graph] == case["neighbours"]
    for case in vector["smallest_degrees"]:
        found = smallest_degree(case["members"], case["gamma"], case["delta"])
        assert list(found) == case["degree_and_threshold"]


@pytest.mark.parametrize("case", bad("graph_bad_degrees"))
def test_graph_bad(case):
    seed = bytes.fromhex(load("graph_bad_degrees")["seed"])
    with pytest.raises(BLAME[case["blame"]]):
        neighbour_graph(case["members"], case["degree"], seed)
