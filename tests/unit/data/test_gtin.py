"""Trade item numbers: one canonical form, and what only looks like one."""

import pytest

from securefl.data.sources.files.gtin import check_digit, gtin

GOOD = {
    "9506000134352": "09506000134352",  # GS1's own prefix for examples, as in its Digital Link
    "09506000134352": "09506000134352",
    "4006381333931": "04006381333931",
    " 4006381333931".strip(): "04006381333931",
    "4006381-333931": "04006381333931",
    "036000291452": "00036000291452",  # UPC-A
    "36000291452": "00036000291452",  # after a spreadsheet
    "0036000291452": "00036000291452",
    "614141999996": "00614141999996",  # GS1 US: company prefix 0614141, for examples
    "10614141999993": "10614141999993",  # a case of it is another trade item
    "73513537": "00000073513537",  # GTIN-8
    "00000073513537": "00000073513537",
    "9783161484100": "09783161484100",  # ISBN-13, the International ISBN Agency's example
    "978-3-16-148410-0": "09783161484100",
    "3-16-148410-X": "09783161484100",  # the same book in ten digits
    "316148410X": "09783161484100",
    "9771234567003": "09771234567003",  # ISSN
}


@pytest.mark.parametrize("label", GOOD)
def test_one_number_has_one_form(label):
    """14 digits, whatever was written in front or between."""
    found = gtin(label)
    assert (found.kind, found.digits, found.problem) == ("gtin", GOOD[label], "")


@pytest.mark.parametrize(
    ("digits", "check"),
    [("629104150021", "3"), ("03600029145", "2"), ("7351353", "7"), ("1061414199999", "3")],
)
def test_check_digits(digits, check):
    """The first is the example of GS1's page on how to calculate one."""
    assert check_digit(digits) == check


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("2012345000008", "in-store"),  # weighed goods: price or weight in the number
        ("212345000004", "in-store"),  # the same in 12 digits
        ("0412345000002", "in-store"),
        ("20123451", "in-store"),
        ("01234565", "in-store"),
        ("90614141999999", "in-store"),  # variable measure
        ("9800000000005", "no-product"),
        ("9912345678903", "no-product"),
        ("512345678900", "no-product"),  # a coupon in 12 digits
    ],
)
def test_numbers_of_one_retailer_are_none(label, kind):
    """Two shops mean different things by them, so they never align."""
    whole = label[:-1] + check_digit(label[:-1])
    assert gtin(whole).kind == kind


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ("4006381333932", "wrong check digit"),
        ("4006381339331", "wrong check digit"),  # two digits exchanged
        ("00000000000000", "zeros"),
        ("7351353", "8 to 14"),
        ("milk", "8 to 14"),
        ("", "8 to 14"),
        ("123456789012345", "8 to 14"),
        ("4006381333931.5", "8 to 14"),
        ("４００６３８１３３３９３１", "8 to 14"),  # digits of another script
        ("3-16-148410-1", "wrong check digit"),
    ],
)
def test_labels_that_are_no_gtin(label, problem):
    """Each with its reason."""
    found = gtin(label)
    assert (found.kind, found.digits) == ("not-a-gtin", "")
    assert problem in found.problem


def test_a_number_of_two_meanings_is_none():
    """Ten digits that are right as an ISBN and as a GTIN without its zeros."""
    both = next(
        label
        for label in (f"{n:09d}" + check_digit(f"{n:09d}") for n in range(100_000_000, 100_000_200))
        if sum((10 - place) * int(digit) for place, digit in enumerate(label)) % 11 == 0
    )
    assert "ISBN" in gtin(both).problem
    assert gtin(both.zfill(13)).kind == "gtin"
