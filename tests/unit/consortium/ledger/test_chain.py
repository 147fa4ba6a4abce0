"""Entries have one form, and a chain shows what was changed, left out or moved."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securefl.consortium.keys.key_files import generate_key
from securefl.consortium.ledger.composition import compose, joined
from securefl.consortium.ledger.event_base import ZEROS, Mechanism
from securefl.consortium.ledger.events import End, Outcome, Release, SignedEntry
from securefl.consortium.ledger.hash_chain import (
    LedgerError,
    canonical,
    check_chain,
    entry_digest,
    next_entry,
    read_entry,
    sign,
    verify,
)
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian

PLACE = {
    "run": "11" * 32,
    "agreement": "22" * 32,
    "member": "north",
    "time": "2026-01-01T00:00:00Z",
}
GAUSSIAN = Mechanism(
    name="sampled-gaussian",
    unit="customer",
    adjacency="add or remove one customer",
    noise_multiplier=2.0,
    clip_norm=1.0,
    sampling_rate=0.5,
    steps=2,
    sampler="poisson",
    rng="AES-256-CTR, system key",
    accountant="rdp",
)


def outcome(number):
    return Outcome(round=number, survivors=("north",), model_after=ZEROS, transcript=None)


@pytest.fixture
def key():
    return generate_key()


@pytest.fixture
def chain(key):
    entries, last = [], None
    for number in (1, 2, 3):
        last = next_entry(last, outcome(number), **PLACE)
        entries.append(sign(last, key))
    return entries


def test_entries_are_numbered_and_linked(chain, key):
    assert [signed.entry.sequence for signed in chain] == [0, 1, 2]
    assert chain[0].entry.previous == ZEROS
    assert chain[2].entry.previous == entry_digest(chain[1].entry)
    check_chain(chain, key.public)


def test_an_entry_survives_its_bytes_and_has_one_form(chain):
    data = canonical(chain[1])
    assert read_entry(data) == chain[1]
    loose = json.dumps(json.loads(data), indent=1).encode()
    with pytest.raises(LedgerError, match="canonical"):
        read_entry(loose)


@given(st.floats(min_value=1e-9, max_value=1e9), st.integers(min_value=1, max_value=1 << 53 - 1))
def test_numbers_have_one_form(sigma, steps):
    mechanism = GAUSSIAN.model_copy(update={"noise_multiplier": sigma, "steps": steps})
    release = Release(
        round=1,
        mode="plain",
        dp="local",
        model_before=ZEROS,
        threshold=None,
        cohort=("north",),
        mechanism=mechanism,
        delta=1e-5,
        epsilon_before=0.0,
        epsilon_after=1.0,
        repeat_of=None,
    )
    signed = SignedEntry(entry=next_entry(None, release, **PLACE), signature="0" * 128)
    assert read_entry(canonical(signed)) == signed


@pytest.mark.parametrize("dropped", [0, 1])
def test_a_left_out_entry_shows(chain, key, dropped):
    with pytest.raises(LedgerError, match="does not follow"):
        check_chain(chain[:dropped] + chain[dropped + 1 :], key.public)


def test_moved_entries_show(chain, key):
    with pytest.raises(LedgerError, match="does not follow"):
        check_chain([chain[0], chain[2], chain[1]], key.public)


def test_a_changed_entry_shows(chain, key):
    changed = chain[1].entry.model_copy(update={"event": outcome(9)})
    forged = chain[1].model_copy(update={"entry": changed})
    with pytest.raises(LedgerError, match="north's entry 1"):
        check_chain([chain[0], forged, chain[2]], key.public)


def test_somebody_elses_signature_shows(chain):
    with pytest.raises(LedgerError, match="does not fit"):
        verify(chain[0], generate_key().public)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"sequence": -1},
        {"sequence": 0.5},
        {"time": "yesterday"},
        {"previous": "AB" * 32},
        {"event": {"kind": "gift"}},
        {"event": {"kind": "end", "rounds": 1, "epsilon_after": None, "note": "x"}},
        {"event": {"kind": "end", "rounds": "1", "epsilon_after": None}},
        {"more": 1},
    ],
)
def test_malformed_entries_are_one_clear_error(key, change):
    tree = json.loads(
        canonical(sign(next_entry(None, End(rounds=1, epsilon_after=None), **PLACE), key))
    )
    tree["entry"] |= change
    with pytest.raises(LedgerError, match="no ledger entry"):
        read_entry(json.dumps(tree).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"entry": 1}'])
def test_garbage_is_no_entry(data):
    with pytest.raises(LedgerError):
        read_entry(data)


def test_mechanisms_are_priced_like_their_events():
    other = GAUSSIAN.model_copy(update={"noise_multiplier": 3.0, "steps": 7})
    events = [SampledGaussian(2.0, 0.5, 2), SampledGaussian(3.0, 0.5, 7)]
    assert compose([GAUSSIAN, other], 1e-5, "rdp") == epsilon_of(events, 1e-5, "rdp")
    assert compose([], 1e-5, "rdp") == 0


def test_equal_mechanisms_are_joined_and_cost_the_same():
    other = GAUSSIAN.model_copy(update={"sampling_rate": 0.25})
    together = joined([GAUSSIAN, other, GAUSSIAN])
    assert sorted(one.steps for one in together) == [2, 4]
    assert compose(together, 1e-5, "rdp") == compose([GAUSSIAN, other, GAUSSIAN], 1e-5, "rdp")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "hope"}, "no price is known"),
        ({"sampler": "shuffle"}, "not amplified like Poisson"),
    ],
)
def test_what_has_no_price_is_refused(change, words):
    with pytest.raises(LedgerError, match=words):
        compose([GAUSSIAN.model_copy(update=change)], 1e-5, "rdp")


def test_units_are_not_mixed():
    other = GAUSSIAN.model_copy(update={"unit": "record"})
    with pytest.raises(LedgerError, match="different units"):
        compose([GAUSSIAN, other], 1e-5, "rdp")
