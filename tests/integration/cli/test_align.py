"""`securefl data align`: three parties in three folders, and one that they share."""

import csv

from securefl.consortium.agreement.storage import write_card
from securefl.consortium.keys.key_files import generate_key, write_clear_key
from securefl.consortium.keys.parties import key_bundle_of


def test_two_members_and_a_coordinator_align(cli, here):
    """Each command says what it wrote, what to compare, and what it waits for."""
    (here / "a.csv").write_text("sku,category\nmilk,dairy\ntea,drinks\nkefir,dairy\n")
    (here / "b.csv").write_text("article,category\nTea ,Drinks\nmilk,Dairy\nbutter,dairy\n")
    for name in ("a", "b", "c"):
        key = generate_key()
        write_clear_key(here / f"{name}.key", key)
        write_card(here / f"{name}.card", key_bundle_of(name, key))
    names = ("--member", "a.card", "--member", "b.card", "--attribute", "category")
    own = ("--key", "c.key")
    begun = cli("data", "align", "start", "shared", *own, *names, "--size", "12")
    fingerprint = begun.out.partition("compare this: ")[2].splitlines()[0]

    def join(name):
        places = ("--state", f"{name}-state", "--out", f"{name}-out")
        own = ("--key", f"{name}.key", "--catalogue", f"{name}.csv")
        return cli("data", "align", "join", "shared", *own, *places)

    first = join("a")
    assert f"Compare with the others: {fingerprint}" in first.out
    assert "Waiting for" in first.out
    assert "b.0.points" in first.out
    assert "Waiting for" in cli("data", "align", "combine", "shared", *own).out
    assert [join(name).code for name in ("b", "a", "b")] == [0, 0, 0]
    assert "Wrote shared/common.points" in cli("data", "align", "combine", "shared", *own).out
    assert "1 products have a row of their own, 2 that of a group, 0 none." in join("a").out
    assert join("b").code == 0
    found = {}
    for name in "ab":
        with (here / f"{name}-out" / f"{name}-rows.csv").open() as file:
            found[name] = {row["product"]: row["row"] for row in csv.DictReader(file)}
    group = "category=dairy"
    assert found["a"] == {"milk": "milk", "tea": "category=drinks", "kefir": group}
    assert found["b"] == {"Tea": "category=drinks", "milk": "milk", "butter": group}
    assert join("a").refused("catalogue.csv exists")
