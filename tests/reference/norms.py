"""A verifier of norm proofs, written from section 8 of the specification; one equation a time."""

import hashlib
from math import isqrt

import rbcl

ORDER = 2**252 + 27742317777372353535851937790883648493
NEUTRAL = bytes(32)


def little(data):
    return int.from_bytes(data, "little")


def element(place):
    label = b"securefl/2/norm generator" + place.to_bytes(4, "big")
    return rbcl.crypto_core_ristretto255_from_hash(hashlib.sha512(label).digest())


def multiple(scalar, point):
    scalar %= ORDER
    if scalar == 0 or point == NEUTRAL:
        return NEUTRAL
    return rbcl.crypto_scalarmult_ristretto255(scalar.to_bytes(32, "little"), point)


def total(points):
    found = NEUTRAL
    for point in points:
        found = rbcl.crypto_core_ristretto255_add(found, point)
    return found


def commit(first, values, blinding):
    parts = [multiple(value, element(first + j)) for j, value in enumerate(values)]
    return total([multiple(blinding, element(0)), *parts])


def digest(label, *fields):
    parts = (label, *fields)
    return hashlib.sha256(b"".join(len(p).to_bytes(4, "big") + p for p in parts)).digest()


def shake(data, count=64):
    return hashlib.shake_256(data).digest(count)


class Norm:
    """The seven numbers, and what follows from them."""

    def __init__(self, numbers):
        self.d0, self.m, self.beta, self.largest, self.a, self.b, self.s = numbers
        self.e = self.bound(self.largest).bit_length()
        self.g = self.largest.bit_length()
        sums = 17 * (isqrt(self.bound(self.largest) >> 2 * self.s) + 1)
        self.z = (sums << 71) + sums
        self.width = ((2 * self.z).bit_length() + 7) // 8
        self.first, self.helpers = 256 + self.m, 128 + self.e + 2 * self.g

    def bound(self, weight):
        return 927 * (self.a * weight + self.b) ** 2

    def fields(self, proof):
        """The parts of a proof, or nothing where one is not what M64 allows."""
        sizes = [32] * 6 + [self.width] * 128 + [32] * (self.first + self.helpers + 3)
        if len(proof) != sum(sizes):
            return None
        parts, start = [], 0
        for size in sizes:
            parts.append(proof[start : start + size])
            start += size
        points, shown, scalars = parts[:6], parts[6:134], [little(p) for p in parts[134:]]
        fine = all(p != NEUTRAL and rbcl.crypto_core_ristretto255_is_valid_point(p) for p in points)
        fine &= all(scalar < ORDER for scalar in scalars)
        fine &= all(little(part) <= 2 * self.z for part in shown)
        return (points, shown, scalars) if fine else None

    def equation(self, x, delta, rows, checks):
        """The sums of the equations' parts at x: of degree two, of degree one, and constant."""
        v, bits = x[:256], x[self.first + 128 :]
        w = sum(x[256 + j] << self.beta * j for j in range(self.m))
        masks = x[self.first : self.first + 128]
        numbers = bits[: self.e], bits[self.e : self.e + self.g], bits[self.e + self.g :]
        one, two, three = (sum(b << j for j, b in enumerate(number)) for number in numbers)
        four = 4**self.s
        lines = [
            (
                four * sum(t * t for t in v) - 927 * self.a**2 * w * w,
                one - 927 * 2 * self.a * self.b * w,
                -927 * self.b**2,
            ),
            (0, w - two, 0),
            (0, -w - three, self.largest),
        ]
        for row, check, mask in zip(rows, checks, masks, strict=True):
            lines.append((0, -sum(t for at, t in enumerate(v) if row >> at & 1) - mask, check))
        lines += [(bit * bit, -bit, 0) for bit in bits]
        factors = [pow(delta, place, ORDER) for place in range(1, len(lines) + 1)]
        return [
            sum(f * line[part] for f, line in zip(factors, lines, strict=True)) % ORDER
            for part in range(3)
        ]

    def holds(self, context, member, inputs, proof):
        """Whether a member's proof is good (M64)."""
        found = self.fields(proof)
        if found is None:
            return False
        (v, w, t, u, q1, q0), shown, scalars = found
        index = member.to_bytes(4, "big")
        statement = digest(b"securefl/2/norm statement", context, index, inputs)
        state = b"securefl/2/norm proof" + statement + v + w
        drawn = shake(state, 4096)
        rows = [little(drawn[at : at + 32]) for at in range(0, 4096, 32)]
        state = shake(state) + b"".join(shown)
        delta = little(shake(state)) % ORDER
        state = shake(state) + t + u + q1 + q0
        x = little(shake(state)) % ORDER
        *r, zeta_v, zeta_w, eta = scalars
        checks = [little(part) - self.z for part in shown]
        two, one, constant = self.equation(r, delta, rows, checks)
        value = two + x * one + x * x * constant
        place = 1 + self.first
        return (
            commit(1, r[: self.first], zeta_v) == total([multiple(x, v), t])
            and commit(place, r[self.first :], zeta_w) == total([multiple(x, w), u])
            and commit(place + self.helpers, [value], eta) == total([multiple(x, q1), q0])
        )

    def values(self, context, inputs, vector):
        """The projections of a signed vector, and its digits (python integers)."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        key = digest(b"securefl/2/norm projections", context, inputs)
        stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        drawn = stream.update(bytes(256 * self.d0))
        rows = [drawn[t * self.d0 : (t + 1) * self.d0] for t in range(256)]
        first = vector[: self.d0]
        projections = [
            sum((byte.bit_count() - 4) * x for byte, x in zip(row, first, strict=True))
            for row in rows
        ]
        return [*projections, *vector[-self.m :]]
