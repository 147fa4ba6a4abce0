"""Primitives, plan and messages of docs/specification/protocol.md, sections 2 to 5."""

import hashlib
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

P = 2**31 + 11
Q = 2**89 - 1


class Refused(Exception):
    """A peer sent what the page forbids."""


class WrongSum(Exception):
    """A checksum does not fit; the round is over and the session is not."""

    def __init__(self, survivors):
        super().__init__("wrong sum")
        self.survivors = survivors


def need(condition, why):
    if not condition:
        raise Refused(why)


def u32(number):
    return number.to_bytes(4, "big")


def labelled(label, *fields):
    state = hashlib.sha256()
    for field in (b"securefl/2/" + label, *fields):
        state.update(u32(len(field)) + field)
    return state.digest()


def kdf(secret, label, context, version=b"securefl/2/"):
    label = version + label
    info = len(label).to_bytes(2, "big") + label + len(context).to_bytes(2, "big") + context
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def public(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def dh(private, peer):
    need(int.from_bytes(peer, "little") < 2**255 - 19, "a public key is not reduced")
    try:
        key = X25519PrivateKey.from_private_bytes(private)
        return key.exchange(X25519PublicKey.from_public_bytes(peer))
    except ValueError as error:
        raise Refused("a point of low order") from error


def verify(identity, signature, name, statement):
    domain = b"securefl/2/" + name
    try:
        key = Ed25519PublicKey.from_public_bytes(identity)
        key.verify(signature, bytes([len(domain)]) + domain + statement)
    except InvalidSignature as error:
        raise Refused("a signature does not fit") from error


def seal(key, nonce, bound, plain):
    return nonce + AESGCM(key).encrypt(nonce, plain, bound)


def unseal(key, bound, box):
    try:
        return AESGCM(key).decrypt(box[:12], box[12:], bound)
    except InvalidTag as error:
        raise Refused("a box does not open") from error


def prg(key, count, bits):
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    width = 4 if bits == 24 else bits // 8
    words = words_in(stream.update(bytes(count * width)), 8 * width)
    return [word % (1 << bits) for word in words]


def limbs(secret):
    number = int.from_bytes(secret, "big")
    return [number >> 31 * place & (2**31 - 1) for place in range(8, -1, -1)]


def deal(secrets, count, threshold, entropy):
    """Shares of several secrets: for each x = 1 … count, 36 bytes of each."""
    columns = [limb for secret in secrets for limb in limbs(secret)]
    drawn, missing = [], (threshold - 1) * len(columns)
    while missing > 0:
        data = entropy(8 * missing)
        words = [int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4)]
        taken = [word for word in words if word < P][:missing]
        drawn, missing = drawn + taken, missing - len(taken)
    rows = [drawn[i : i + len(columns)] for i in range(0, len(drawn), len(columns))]

    def h(x, column):
        y = 2 * x - count - 1
        return sum(row[column] * pow(y, j, P) for j, row in enumerate(rows, 1))

    zero = [h(0, column) for column in range(len(columns))]
    dealt = []
    for x in range(1, count + 1):
        values = [(s + h(x, c) - zero[c]) % P for c, s in enumerate(columns)]
        words = [u32(value) for value in values]
        dealt.append([b"".join(words[9 * i : 9 * i + 9]) for i in range(len(secrets))])
    return dealt


def words_of(share):
    words = [int.from_bytes(share[i : i + 4], "big") for i in range(0, 36, 4)]
    need(len(share) == 36 and all(word < P for word in words), "a share lies outside the field")
    return words


def rebuild(shares):
    """The secret from {x: share}, of exactly t shares."""
    total = 0
    for place in range(9):
        limb = 0
        for x, share in shares.items():
            top = bottom = 1
            for other in shares:
                if other != x:
                    top, bottom = top * other % P, bottom * (other - x) % P
            limb = (limb + words_of(share)[place] * top * pow(bottom, -1, P)) % P
        need(limb < 2**31, "shares belong to no secret")
        total = total << 31 | limb
    need(total < 2**256, "shares belong to no secret")
    return total.to_bytes(32, "big")


@dataclass(frozen=True)
class Plan:
    members: int
    threshold: int
    degree: int
    dimension: int
    bits: int
    largest_input: int
    rounds: int
    min_members: int
    terms: bytes
    layers: int = 0
    seed: bytes = b""

    @property
    def complete(self):
        return self.degree == self.members - 1

    @property
    def sparse(self):
        return not self.complete

    def digest(self):
        numbers = (
            self.members,
            self.threshold,
            self.degree,
            self.dimension,
            self.bits,
            self.largest_input,
            self.rounds,
            self.min_members,
            self.layers,
        )
        return labelled(b"plan", *(n.to_bytes(8, "big") for n in numbers), self.seed, self.terms)

    def with_seed(self, seed):
        return replace(self, seed=seed)

    def neighbours(self, member):
        if self.complete:
            return [j for j in range(self.members) if j != member]
        circle = self._circle()
        place, half = circle.index(member), self.degree // 2
        steps = [step for step in range(-half, half + 1) if step]
        return sorted(circle[(place + step) % self.members] for step in steps)

    def _circle(self):
        key, order, at = kdf(self.seed, b"neighbour graph", b""), list(range(self.members)), 0
        stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
        data = stream.update(bytes(64 * self.members + 4096))
        for last in range(self.members - 1, 0, -1):
            bound = last + 1
            while True:
                word, at = int.from_bytes(data[at : at + 4], "big"), at + 4
                if word < 2**32 // bound * bound:
                    break
            place = word % bound
            order[last], order[place] = order[place], order[last]
        return order

    def holders(self, member):
        """Who holds shares of a member, and the x of each."""
        if self.complete:
            return {holder: holder + 1 for holder in range(self.members)}
        return {holder: x for x, holder in enumerate(self.neighbours(member), 1)}

    @property
    def limit(self):
        vector, rows = self.dimension * self.bits // 8, 260 * self.members
        return 4096 + (vector + rows if self.layers else max(vector, rows))


@dataclass(frozen=True)
class Setting:
    """What every party knows before a session, and not from the coordinator."""

    plan: Plan
    identities: tuple[bytes, ...]
    consortium: bytes
    run_id: bytes

    def context(self, number, model, plan=None):
        digest = (plan or self.plan).digest()
        return labelled(b"session", self.consortium, self.run_id, u32(number), model, digest)


N, B, T = "number", "bytes", "table"
CODES = {
    b"AdvertiseKeys": (1, [("encryption", B, 32), ("masking", B, 32)]),
    b"ShareKeys": (
        2,
        [("round", N, 0), ("seed_commitment", B, 32), ("escrow", B, None), ("deals", T, 196)],
    ),
    b"MaskedInput": (
        3,
        [("round", N, 0), ("tag_check", B, 32), ("tag", B, 12), ("vector", B, None)],
    ),
    b"Consistency": (4, [("round", N, 0), ("survivors", B, None), ("inputs", B, 32)]),
    b"Unmask": (5, [("round", N, 0), ("seed_shares", T, 36), ("key_shares", T, 36)]),
    b"LayeredInput": (
        6,
        [
            ("round", N, 0),
            ("tag_check", B, 32),
            ("tag", B, 12),
            ("vector", B, None),
            ("anchor", B, 32),
        ],
    ),
    b"LayeredUnmask": (
        7,
        [("round", N, 0), ("seed_shares", T, 36), ("key_shares", T, 36), ("link", B, None)],
    ),
    b"CommittedKeys": (8, [("encryption", B, 32), ("masking", B, 32), ("commitment", B, 32)]),
    b"Reveal": (9, [("value", B, 32), ("boxes", T, 60)]),
    b"KeyList": (65, [("cohort", B, None), ("keys", T, 128)]),
    b"Shares": (66, [("round", N, 0), ("cohort", B, None), ("deals", T, 196)]),
    b"SurvivorSet": (67, [("round", N, 0), ("survivors", T, 32)]),
    b"Signatures": (68, [("round", N, 0), ("signatures", T, 64)]),
    b"RoundSum": (69, [("round", N, 0), ("tag", B, 12), ("total", B, None)]),
    b"LayeredSurvivors": (70, [("round", N, 0), ("survivors", T, 64)]),
    b"LayeredSum": (71, [("round", N, 0), ("tag", B, 12), ("total", B, None), ("links", T, 32)]),
    b"CommittedKeyList": (72, [("cohort", B, None), ("keys", T, 160)]),
    b"GraphDraw": (73, [("values", T, 32), ("box", B, None)]),
}
NAMES = {code: name for name, (code, _) in CODES.items()}


def pack_number(number):
    for limit, head in ((2**7, b""), (2**8, b"\xcc"), (2**16, b"\xcd"), (2**32, b"\xce")):
        if number < limit:
            return head + number.to_bytes(max(1, (limit.bit_length() - 1) // 8), "big")
    raise Refused("a number has 32 bits")


def pack_bytes(data):
    for limit, head, width in ((2**8, b"\xc4", 1), (2**16, b"\xc5", 2), (2**32, b"\xc6", 4)):
        if len(data) < limit:
            return head + len(data).to_bytes(width, "big") + data
    raise Refused("a field is too long")


def body(name, **fields):
    """The msgpack map of a message, in the order of its fields."""
    _, form = CODES[name]
    out = bytes([0x80 | len(form)])
    for field, kind, _ in form:
        out += bytes([0xA0 | len(field)]) + field.encode()
        value = fields[field]
        if kind == T:
            value = b"".join(u32(member) + value[member] for member in sorted(value))
        out += pack_number(value) if kind == N else pack_bytes(value)
    return out


def unpack(name, data):
    """The fields of a body; whatever is not written in the one way is refused."""
    _, form = CODES[name]
    fields, at = {}, 1
    for field, kind, size in form:
        at += 1 + len(field)
        head = data[at] if at < len(data) else 0xC1
        if kind == N:
            width = {0xCC: 1, 0xCD: 2, 0xCE: 4}.get(head, 0)
            fields[field] = int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else head
            at += 1 + width
            continue
        width = {0xC4: 1, 0xC5: 2, 0xC6: 4}.get(head)
        need(width is not None, "no byte string")
        length, at = int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
        value, at = bytes(data[at : at + length]), at + length
        if kind == T:
            need(len(value) % (4 + size) == 0, "no whole rows")
            rows = [value[i : i + 4 + size] for i in range(0, len(value), 4 + size)]
            fields[field] = {int.from_bytes(row[:4], "big"): row[4:] for row in rows}
        else:
            need(size in (None, length), "a field has another length")
            fields[field] = value
    need(body(name, **fields) == data, "not the one way to write it")
    return fields


def bits(members, count):
    number = sum(1 << member for member in members)
    return number.to_bytes(-(-count // 8), "little")


def members_of(data, count):
    need(len(data) == -(-count // 8), "a set of another size")
    number = int.from_bytes(data, "little")
    need(number < 1 << count, "a member that is not in the roster")
    return {member for member in range(count) if number >> member & 1}


def pair_key(secret, ctx, i, j):
    return kdf(secret, b"pairwise mask", ctx + u32(min(i, j)) + u32(max(i, j)))


def sign_of(member, peer):
    return 1 if member < peer else -1


def inputs_digest(rows):
    return labelled(b"masked inputs", b"".join(u32(m) + rows[m] for m in sorted(rows)))


class Checksum:
    """Section 8: the key of one round, and the tags under it."""

    def __init__(self, ctx, contributions):
        fields = [u32(m) + contributions[m] for m in sorted(contributions)]
        self.ctx, self.key = ctx, labelled(b"tag key", ctx, *fields)
        self.check = labelled(b"tag key check", ctx, self.key)

    def pad(self, member):
        return int.from_bytes(kdf(self.key, b"tag pad", self.ctx + u32(member)), "big")

    def weigh(self, numbers):
        words = prg(kdf(self.key, b"tag weights", self.ctx), 512 + -(-len(numbers) // 512), 64)
        b, a = [w >> 4 for w in words[:512]], [w >> 4 for w in words[512:]]
        return sum(a[i // 512] * x * b[i % 512] for i, x in enumerate(numbers))

    def tag(self, member, numbers):
        return (self.weigh(numbers) + self.pad(member)) % Q


def tag_mask(key, check):
    return int.from_bytes(kdf(key, b"tag mask", check), "big")


def signed_numbers(words, width):
    return [word - (1 << width) if word >> (width - 1) else word for word in words]


def vector_bytes(words, width):
    return b"".join(word.to_bytes(width // 8, "little") for word in words)


def words_in(data, width):
    step = width // 8
    return [int.from_bytes(data[i : i + step], "little") for i in range(0, len(data), step)]


def next_link(link, layer):
    return kdf(link, b"noise link", u32(layer), version=b"securefl/1/")


def layer_key(link, layer):
    return kdf(link, b"noise layer", u32(layer), version=b"securefl/1/")


def open_layers(link, first, layers, anchor):
    need(len(link) == 32 and 1 <= first <= layers, "no such layer")
    keys = []
    for layer in range(first, layers + 1):
        keys.append(layer_key(link, layer))
        link = next_link(link, layer)
    need(link == anchor, "the link does not lead to the anchor")
    return tuple(keys)


def committed_value(opening, member, value):
    return labelled(b"draw commitment", opening, u32(member), value)


def drawn_seed(opening, entries, values):
    need(values.keys() == entries.keys(), "values of exactly the cohort")
    for member, value in values.items():
        expected = committed_value(opening, member, value)
        need(entries[member][128:] == expected, "a value that was not committed to")
    return labelled(
        b"graph seed", opening, *(u32(m) + entries[m] + values[m] for m in sorted(entries))
    )
