"""Sealed messages in parts: whatever the order, once, and for the receiver's eyes alone."""

import random
from dataclasses import replace

import pytest

from securefl.errors import RunDirectoryError
from securefl.federation.transport.nats import chunking as nats_parts
from securefl.federation.transport.nats.chunking import Envelope, PeerKeyUnknownError, Reassembler
from securefl.federation.transport.nats.part_errors import BadPartError, OtherRunError
from securefl.federation.transport.session_keys import RunKeys
from securefl_protocols.primitives.signing import SigningKey
from support.closing import closed_later

RUN = bytes(32)
IDENTITIES = {name: SigningKey(bytes([number]) * 32) for number, name in enumerate("abc", 1)}
NOTE = Envelope("a", "b", "id", "question", bytes(range(256)) * 4)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(nats_parts, "CHUNK_BYTES", 100)


def opened(*values):
    return closed_later(RunKeys(*values))


@pytest.fixture
def keys(tmp_path):
    """What `a`, `b` and `c` have in a run; `a` and `c` have met `b`."""
    made = {name: opened(tmp_path / name, key, RUN, name) for name, key in IDENTITIES.items()}
    for name in "ac":
        made[name].meet("b", made["b"].own.public)
    return made


@pytest.fixture
def assembler(keys):
    return listening(keys["b"])


def listening(keys, sender="a"):
    return Reassembler(keys, sender, IDENTITIES[sender].public)


def fed(assembler, parts):
    return [assembler.add(*part) for part in parts]


@pytest.mark.parametrize("seed", range(5))
def test_parts_in_any_order_and_twice_are_one_message(assembler, keys, seed):
    draw, parts = random.Random(seed), list(NOTE.parts(keys["a"]))
    assert len(parts) == 11
    draw.shuffle(parts)
    twice = [part for part in parts[:-1] for _ in range(2)]
    assert fed(assembler, twice) == [None] * len(twice)
    assert assembler.add(*parts[-1]) == NOTE


def test_an_empty_message_is_one_part(assembler, keys):
    empty = replace(NOTE, body=b"")
    (part,) = empty.parts(keys["a"])
    assert assembler.add(*part) == empty


def test_nothing_is_sealed_for_whom_nobody_has_met(keys):
    with pytest.raises(PeerKeyUnknownError):
        next(replace(NOTE, receiver="c").parts(keys["a"]))


def test_an_answer_goes_to_the_key_that_asked(assembler, keys):
    fed(assembler, NOTE.parts(keys["a"]))
    answer = Envelope("b", "a", "x", "id", b"answer")
    assert fed(listening(keys["a"], "b"), answer.parts(keys["b"])) == [answer]


def test_parts_that_were_sealed_twice_are_never_mixed(assembler, keys):
    """A sender that was killed half-way may say something else under the same id."""
    other = replace(NOTE, body=bytes(1024))
    first, second = list(NOTE.parts(keys["a"])), list(other.parts(keys["a"]))
    assert fed(assembler, [*first[:5], *second[5:]]) == [None] * 11
    assert fed(assembler, second[:5])[-1] == other


def test_a_broker_sees_none_of_what_is_said(keys):
    said = b"a plain word that everybody knows" * 3
    for _, content in replace(NOTE, body=said).parts(keys["a"]):
        assert said[:8] not in content
    ((_, once),) = replace(NOTE, body=b"yes").parts(keys["a"])
    ((_, again),) = replace(NOTE, body=b"yes").parts(keys["a"])
    assert once != again


@pytest.mark.parametrize("place", [0, -1, 50])
def test_a_flipped_bit_is_refused(assembler, keys, place):
    headers, content = next(NOTE.parts(keys["a"]))
    flipped = bytearray(content)
    flipped[place] ^= 1
    with pytest.raises(BadPartError, match="cannot be opened"):
        assembler.add(headers, bytes(flipped))
    assert fed(assembler, NOTE.parts(keys["a"]))[-1] == NOTE


@pytest.mark.parametrize("left", [0, 15, 16, 99])
def test_a_truncated_part_is_refused(assembler, keys, left):
    headers, content = next(NOTE.parts(keys["a"]))
    with pytest.raises(BadPartError, match="cannot be opened"):
        assembler.add(headers, content[:left])


def test_a_truncated_message_is_refused(assembler, keys):
    """Its parts say how many there are, under their seal."""
    for headers, content in list(NOTE.parts(keys["a"]))[:3]:
        number = headers["Securefl-Part"].split("/")[0]
        with pytest.raises(BadPartError, match="cannot be opened"):
            assembler.add(headers | {"Securefl-Part": f"{number}/3"}, content)


@pytest.mark.parametrize("header", ["Securefl-Id", "Securefl-Answers", "Securefl-Salt"])
def test_a_message_under_another_id_is_refused(assembler, keys, header):
    headers, content = next(NOTE.parts(keys["a"]))
    with pytest.raises(BadPartError, match="cannot be opened"):
        assembler.add(headers | {header: "00" * 16}, content)


def test_parts_in_each_others_place_are_refused(assembler, keys):
    (first, one), (second, two) = list(NOTE.parts(keys["a"]))[:2]
    for headers, content in ((first, two), (second, one)):
        with pytest.raises(BadPartError, match="cannot be opened"):
            assembler.add(headers, content)


def test_a_message_for_another_party_is_refused(keys):
    parts = list(NOTE.parts(keys["a"]))
    with pytest.raises(BadPartError, match="cannot be opened"):
        fed(listening(keys["c"]), parts)


def test_a_message_of_another_run_is_refused(tmp_path, keys):
    other = opened(tmp_path / "other", IDENTITIES["a"], b"\1" * 32, "a")
    other.meet("b", keys["b"].own.public)
    ((headers, content), *_) = NOTE.parts(other)
    with pytest.raises(OtherRunError, match="a is still in run 0101010101010101: stop it"):
        listening(keys["b"]).add(headers, content)
    for named in (RUN.hex(), "", "01" * 31):
        with pytest.raises(BadPartError, match="not its own") as refused:
            listening(keys["b"]).add(headers | {"Securefl-Run": named}, content)
        assert not isinstance(refused.value, OtherRunError)


def test_a_message_in_the_name_of_another_party_is_refused(keys):
    forged = list(NOTE.parts(keys["c"]))
    with pytest.raises(BadPartError, match="not its own"):
        fed(listening(keys["b"]), forged)


def test_a_swapped_key_is_refused(assembler, keys):
    """A broker puts a key of its own in the place of a's; c helps it with a valid signature."""
    for part in NOTE.parts(keys["a"]):
        swapped = part[0] | {"Securefl-Key": keys["c"].own.public.hex()}
        for headers in (swapped, part[0] | keys["c"].headers):
            with pytest.raises(BadPartError, match="not its own"):
                assembler.add(headers, part[1])
    assert keys["b"].of("a") is None


def test_a_replayed_message_is_the_same_message(assembler, keys):
    """Same id: whoever reads it knows that it has been answered."""
    parts = list(NOTE.parts(keys["a"]))
    assert fed(assembler, parts)[-1] == NOTE
    assert fed(assembler, parts)[-1] == NOTE


def test_a_message_to_a_key_that_is_lost_is_refused(tmp_path, keys):
    new = opened(tmp_path / "new disk", IDENTITIES["b"], RUN, "b")
    with pytest.raises(BadPartError, match="cannot be opened"):
        fed(listening(new), NOTE.parts(keys["a"]))


def test_a_party_that_was_killed_has_the_same_key_and_knows_the_others(tmp_path, keys):
    again = opened(tmp_path / "a", IDENTITIES["a"], RUN, "a")
    assert again.own.public == keys["a"].own.public
    assert again.of("b") == keys["b"].own.public


def test_the_key_of_a_run_is_readable_on_no_disk_and_erased_with_the_run(tmp_path, keys):
    private = keys["a"].own.private_bytes()
    files = [path for path in (tmp_path / "a").iterdir() if path.is_file()]
    sealed = keys["a"]._database.execute("SELECT sealed FROM own").fetchone()[0]
    assert any(sealed in path.read_bytes() for path in files)
    assert not any(private in path.read_bytes() for path in files)
    keys["a"].erase()
    assert not any(sealed in path.read_bytes() for path in (tmp_path / "a").iterdir())
    assert opened(tmp_path / "a", IDENTITIES["a"], RUN, "a").own.private_bytes() != private


def test_the_key_of_a_run_is_of_no_use_to_another_identity(tmp_path, keys):
    del keys
    with pytest.raises(RunDirectoryError, match="of another key"):
        opened(tmp_path / "a", IDENTITIES["c"], RUN, "a")


@pytest.mark.parametrize("number", ["", "x", "1", "3/2", "-1/2", "0/0", f"0/{1 << 40}"])
def test_a_part_without_a_possible_number_is_refused(assembler, number):
    with pytest.raises(BadPartError, match="number"):
        assembler.add({"Securefl-Part": number}, b"")


@pytest.mark.parametrize("spelt", ["", "zz", "00", "00" * 32])
def test_a_part_without_a_possible_key_is_refused(assembler, keys, spelt):
    headers, content = next(NOTE.parts(keys["a"]))
    with pytest.raises(BadPartError, match="not its own"):
        assembler.add(headers | {"Securefl-Key": spelt}, content)
