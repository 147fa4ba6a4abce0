"""Identifiers of any file become the schema's, and the same ones every time."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securefl.config.files import LineRules
from securefl.data.schema import ANONYMOUS
from securefl.data.sources.files.identity import customer_number
from securefl.data.sources.files.labels import (
    MISSING,
    Numbering,
    folded,
    normalised,
    receipt_number,
    stable_id,
)


@given(st.integers(0, 2**63 - 1))
def test_plain_numbers_stand_for_themselves(number):
    assert stable_id(str(number)) == number


@given(st.text())
def test_every_text_is_an_id_of_63_bits(text):
    assert 0 <= stable_id(text) < 2**63


@pytest.mark.parametrize("text", ["007", "-1", "1.0", str(2**63), "٣", "K-1"])
def test_other_text_is_hashed(text):
    assert stable_id(text) > 2**40


def test_hashes_are_the_same_in_every_version():
    """A changed hash would make a customer two, and its privacy budget with it."""
    assert stable_id("K-1") == 0x4935061183B37B7D
    assert stable_id("") == 0x7253502BBA3CD95A


def test_text_and_integers_of_one_identifier_agree():
    """7, `7` and ` 7` are the same one."""
    number = Numbering(customer_number(LineRules()), ANONYMOUS)
    assert number(pa.array(["7", " 8 ", "8.0"])).tolist() == [7, 8, 8]
    assert number(pa.array(["7", None, "", "N/A"])).tolist() == [7, -1, -1, -1]
    assert Numbering(receipt_number, MISSING)(pa.array([None, "R7"], pa.string()))[0] == MISSING


@given(st.text())
def test_a_spelling_is_normalised_once(label):
    """Normalising and folding twice changes nothing."""
    assert normalised(normalised(label)) == normalised(label)
    assert folded(normalised(label)) == folded(label)
