"""What makes two products, or two customers, the same: one setting for all members."""

import os

import pandas as pd
import pytest
from pydantic import ValidationError

from securefl.config.data import FilesSettings
from securefl.config.files import LineRules
from securefl.data.frames import customer_labels
from securefl.data.sources.files.identity import customer_number
from securefl.data.sources.files.labels import stable_id
from securefl.data.sources.files.source import examine, load
from securefl.errors import DataError, InputError

HEADER = "customer,product,time,quantity,value\n"
PEPPER = "3f" + "0123456789abcdef" * 3 + "55aa66bb77cc88"


def lines(*products, customer="7"):
    return HEADER + "".join(f"{customer},{one},2024-03-01,1,2\n" for one in products)


@pytest.fixture
def shops(tmp_path):
    """Three members who write the same two GTINs in three ways."""
    (tmp_path / "catalogue.csv").write_text("product\n4006381333931\n36000291452\n")
    (tmp_path / "a.csv").write_text(lines("4006381333931", "036000291452"))
    (tmp_path / "b.csv").write_text(lines("04006381333931", "36000291452"))
    (tmp_path / "c.csv").write_text(lines("4006381-333931", "0036000291452"))
    return tmp_path


def settings(folder, **changes):
    options = {
        "root": folder,
        "catalogue": "catalogue.csv",
        "members": [{"name": one, "transactions": f"{one}.csv"} for one in "abc"],
        "identity": {"products": "gtin"},
    }
    return FilesSettings.model_validate({**options, **changes})


def keyed(folder, text=PEPPER, **changes):
    path = folder / "pepper"
    path.write_text(text)
    path.chmod(0o600)
    identity = {"customers": "keyed", "pepper": "pepper"}
    return settings(folder, identity={"products": "gtin", **identity}, **changes)


def test_gtins_of_any_form_are_one_product(shops):
    """And without the setting they are near labels at best, which are refused."""
    data = load(settings(shops))
    assert [m.transactions["product"].tolist() for m in data.members] == [[0, 1]] * 3
    assert data.products["label"].tolist() == ["04006381333931", "00036000291452", ""]
    with pytest.raises(DataError, match="near_products"):
        load(settings(shops, identity={}))


@pytest.mark.parametrize(
    ("label", "reason"),
    [("4006381333932", "wrong check digit"), ("milk", "8 to 14 digits")],
)
def test_a_label_that_is_no_gtin_is_refused(shops, label, reason):
    """Until a rule says that such products are in no catalogue; then they are counted."""
    (shops / "b.csv").write_text(lines("4006381333931", label))
    with pytest.raises(DataError, match=rf"b\.csv: row 2, column 'product'.*{reason}.*bad_gtin"):
        load(settings(shops))
    data = load(settings(shops, rules={"bad_gtin": "keep"}))
    assert data.members[1].transactions["product"].tolist() == [-1, 0]
    assert any(reason in note for note in data.notes)


def test_numbers_of_one_shop_never_meet(shops):
    """2012345000001 is weighed cheese here and a melon there."""
    for name in "ab":
        (shops / f"{name}.csv").write_text(lines("4006381333931", "2012345000001"))
    read = examine(settings(shops))
    assert [m.transactions["product"].tolist() for m in read.data.members[:2]] == [[-1, 0]] * 2
    found = [one for one in read.findings if one.rule == "in_store"]
    assert [(one.member, one.lines, one.action) for one in found] == [
        ("a", 1, "note"),
        ("b", 1, "note"),
    ]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("4006381333932\n", "row 1, column 'product'.*wrong check digit"),
        ("4006381333931\n2012345000001\n", "row 2.*its own goods"),
        ("4006381333931\n04006381333931\n", "04006381333931 occurs twice"),
    ],
)
def test_a_catalogue_of_gtins_has_nothing_else(shops, rows, reason):
    """No wrong digits, no number that means two products, none twice in two forms."""
    (shops / "catalogue.csv").write_text("product\n" + rows)
    with pytest.raises(DataError, match=reason):
        load(settings(shops))


def test_equal_cards_are_equal_under_one_pepper(shops):
    """At all members that share it, and not under another."""
    for name, card in (("a", "K-77"), ("b", " K-77 "), ("c", "17850.0")):
        (shops / f"{name}.csv").write_text(lines("4006381333931", customer=card))
    data = load(keyed(shops))
    numbers = [int(m.transactions["customer"].iloc[0]) for m in data.members]
    assert numbers[0] == numbers[1] != numbers[2]
    other = load(keyed(shops, PEPPER[::-1]))
    assert int(other.members[0].transactions["customer"].iloc[0]) != numbers[0]


def test_card_numbers_cannot_be_tried_without_the_pepper(shops):
    """A table of all cards finds every plain number, and no keyed one."""
    cards = [str(number) for number in range(100_000, 103_000)]
    frame = pd.DataFrame(
        {"customer": cards[::100], "product": "4006381333931", "time": "2024-03-01"}
    ).assign(quantity=1, value=1)
    for name in "abc":
        frame.to_csv(shops / f"{name}.csv", index=False)
    guesses = {stable_id(card) for card in cards}
    guesses |= {customer_number(LineRules(), os.urandom(32))(card) for card in cards[:300]}
    plain, secret = load(settings(shops)), load(keyed(shops))
    assert set(plain.members[0].transactions["customer"]) <= guesses
    seen = set(secret.members[0].transactions["customer"])
    assert len(seen) == 30
    assert not seen & guesses
    # The member, who has the pepper, reads its own labels back.
    labels = customer_labels(keyed(shops), "a")
    assert {labels[number] for number in seen} == set(cards[::100])


def test_no_customer_is_none_under_a_pepper_too(shops):
    """NULL never becomes a keyed customer."""
    (shops / "a.csv").write_text(lines("4006381333931", customer="NULL"))
    data = load(keyed(shops, rules={"anonymous": "keep"}))
    assert data.members[0].transactions["customer"].tolist() == [-1]


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        ("secret", 0o600, "64 hexadecimal digits"),
        ("00" * 32, 0o600, "random"),
        (PEPPER + "00", 0o600, "64 hexadecimal digits"),
        (PEPPER, 0o644, "chmod 600"),
    ],
)
def test_a_weak_or_open_pepper_is_refused(shops, text, mode, reason):
    """A word can be guessed, and a file that others read is no secret."""
    known = keyed(shops, text)
    (shops / "pepper").chmod(mode)
    with pytest.raises(InputError, match=reason):
        load(known)


@pytest.mark.parametrize("identity", [{"customers": "keyed"}, {"pepper": "pepper"}])
def test_a_pepper_and_keyed_go_together(shops, identity):
    """Keyed without a secret, or a secret that nothing uses, is a mistake."""
    with pytest.raises(ValidationError, match="go together"):
        settings(shops, identity=identity)


def test_own_labels_stand_for_agreed_rows(shops):
    """Several to one row; a label that is in no list is not in the catalogue."""
    (shops / "catalogue.csv").write_text("product\nmilk\nyoghurt\n")
    (shops / "a.csv").write_text(lines("M1", "M2", "Y1", "other"))
    (shops / "a-rows.csv").write_text("product,row\nM1,milk\nM2,milk\nY1,yoghurt\n")
    one = {"name": "a", "transactions": "a.csv", "aligned": "a-rows.csv"}
    data = load(settings(shops, identity={}, members=[one]))
    assert sorted(data.members[0].transactions["product"]) == [-1, 0, 0, 1]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("M1,butter\n", "row 1: the catalogue has no row 'butter'"),
        ("M1,milk\nM1,yoghurt\n", "row 2: 'M1' stands for two rows"),
    ],
)
def test_a_wrong_list_of_own_labels_is_refused(shops, rows, reason):
    """By its row; a wrong row would count sales for another product."""
    (shops / "catalogue.csv").write_text("product\nmilk\nyoghurt\n")
    (shops / "a.csv").write_text(lines("M1"))
    (shops / "a-rows.csv").write_text("product,row\n" + rows)
    one = {"name": "a", "transactions": "a.csv", "aligned": "a-rows.csv"}
    with pytest.raises(DataError, match=reason):
        load(settings(shops, identity={}, members=[one]))
