"""Sections 1 and 8 of bundle.md: canonical JSON, digests, signatures, files of transcripts."""

import hashlib
import json
import math

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Failed(Exception):
    """The name of the check that fails, and why."""

    def __init__(self, check, reason):
        super().__init__(f"{check}: {reason}")
        self.check = check


def need(condition, check, reason):
    if not condition:
        raise Failed(check, reason)


# Section 1: canonical JSON (RFC 8785) and labelled digests


def number(value):
    """A number as ECMAScript writes it (RFC 8785, section 3.2.2.3)."""
    if isinstance(value, int):
        need(abs(value) < 1 << 53, "form", "an integer beyond 2^53")
        return str(value)
    need(math.isfinite(value), "form", "a number that JSON does not know")
    if value == 0:
        return "0"
    sign, value = ("-", -value) if value < 0 else ("", value)
    mantissa, _, exponent = f"{value!r}".partition("e")
    whole, _, rest = mantissa.partition(".")
    rest = "" if rest == "0" else rest
    point = len(whole) + int(exponent or 0)
    digits = (whole + rest).lstrip("0")
    point -= len(whole + rest) - len((whole + rest).lstrip("0"))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = f"e{point - 1:+d}"
    return sign + digits[0] + (f".{digits[1:]}" if count > 1 else "") + power


def canonical(value):
    """RFC 8785 text; names are sorted by their UTF-16 code units."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{canonical(n)}:{canonical(value[n])}" for n in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return number(value)


def octets(value):
    return canonical(value).encode()


def digest(label, *fields):
    """H(label; fields): SHA-256 over each behind its length in four bytes."""
    state = hashlib.sha256()
    for field in (label.encode(), *fields):
        state.update(len(field).to_bytes(4, "big") + field)
    return state.digest()


def signed(key, signature, label, content):
    """Ed25519 over one byte with the label's length, the label, and the content."""
    try:
        message = bytes([len(label)]) + label.encode() + content
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(
            bytes.fromhex(signature), message
        )
    except (InvalidSignature, ValueError):
        return False
    return True


# Section 8: transcripts


def msgpack(data, place):
    """The subset that a transcript uses: unsigned integers, bytes, lists and maps of them."""
    kind = data[place]
    if kind < 0x80:
        return kind, place + 1
    if kind in {0xCC, 0xCD, 0xCE}:
        size = 1 << kind - 0xCC
        return int.from_bytes(data[place + 1 : place + 1 + size], "big"), place + 1 + size
    if kind in {0xC4, 0xC5, 0xC6}:
        size = 1 << kind - 0xC4
        length, place = int.from_bytes(data[place + 1 : place + 1 + size], "big"), place + 1 + size
        return data[place : place + length], place + length
    if 0x80 <= kind < 0xA0 or kind in {0xDC, 0xDE}:
        mapped = kind < 0x90 or kind == 0xDE
        length, place = kind & 0x0F, place + 1
        if kind in {0xDC, 0xDE}:
            length, place = int.from_bytes(data[place : place + 2], "big"), place + 2
        items = []
        for _ in range(length * 2 if mapped else length):
            item, place = msgpack(data, place)
            items.append(item)
        return (dict(zip(items[::2], items[1::2], strict=True)) if mapped else items), place
    raise Failed("transcripts", f"byte {kind:#x}")


def transcript_parts(data):
    """Return (number, model) of the opening and of the round, and the steps' messages."""
    try:
        (opening, this, steps), end = msgpack(data, 0)
        need(end == len(data) and len(steps) in {5, 6}, "transcripts", "more bytes or steps")
        (number, model), (other, another) = opening, this
        for index in (number, other, *(member for step in steps for member in step)):
            index.to_bytes(4, "big")
        whole = all(isinstance(m, bytes) for step in steps for m in step.values())
        need(whole and isinstance(model, bytes) and isinstance(another, bytes), "transcripts", "")
    except (IndexError, ValueError, TypeError, AttributeError, OverflowError):
        raise Failed("transcripts", "no transcript") from None
    return tuple(opening), tuple(this), steps


def transcript_digest(opening, this, steps):
    """The digest that members sign, as hex."""
    four = [number.to_bytes(4, "big") + model for number, model in (opening, this)]
    tables = [
        b"".join(
            member.to_bytes(4, "big") + hashlib.sha256(step[member]).digest()
            for member in sorted(step)
        )
        for step in steps
    ]
    return digest("securefl/2/transcript", *four, *tables).hex()
