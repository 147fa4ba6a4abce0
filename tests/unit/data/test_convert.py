"""Identifiers and numbers of any file become the schema's, and the same ones every time."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securefl.data.coercion import stable_id, to_flags, to_ids, to_numbers, to_text
from securefl.data.schema import Origin

ORIGIN = Origin("file.csv")


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
    assert to_ids(pd.Series([7, 8]), "customer", ORIGIN).tolist() == [7, 8]
    assert to_ids(pd.Series(["7", " 8 "]), "customer", ORIGIN).tolist() == [7, 8]
    assert to_text(pd.Series([7]), "customer", ORIGIN).tolist() == ["7"]


def test_numbers_and_flags_convert_from_text():
    assert to_numbers(pd.Series(["1", " 2.5", "1e3"]), "v", ORIGIN).tolist() == [1.0, 2.5, 1000.0]
    flags = to_flags(pd.Series(["true", "0", " False", "1"]), "f", ORIGIN)
    assert flags.tolist() == [True, False, False, True]
    assert to_flags(pd.Series([True, False]), "f", ORIGIN).tolist() == [True, False]
    assert to_flags(pd.Series([1, 0]), "f", ORIGIN).tolist() == [True, False]
