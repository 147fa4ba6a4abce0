"""`securefl data align`: three parties in three folders, and one that they share."""

import csv


def test_two_members_and_a_coordinator_align(cli, here):
    """Each command says what it wrote, what to compare, and what it waits for."""
    (here / "a.csv").write_text("sku,category\nmilk,dairy\ntea,drinks\nkefir,dairy\n")
    (here / "b.csv").write_text("article,category\nTea ,Drinks\nmilk,Dairy\nbutter,dairy\n")
    names = ("--member", "a", "--member", "b", "--attribute", "category")
    begun = cli("data", "align", "start", "shared", *names, "--size", "12")
    fingerprint = begun.out.partition("compare this: ")[2].splitlines()[0]

    def join(name):
        places = ("--state", f"{name}-state", "--out", f"{name}-out")
        return cli("data", "align", "join", "shared", name, "--catalogue", f"{name}.csv", *places)

    first = join("a")
    assert f"Compare with the others: {fingerprint}" in first.out
    assert "Waiting for" in first.out
    assert "b.0.points" in first.out
    assert "Waiting for" in cli("data", "align", "combine", "shared").out
    assert [join(name).code for name in ("b", "a", "b")] == [0, 0, 0]
    assert "Wrote shared/common.points" in cli("data", "align", "combine", "shared").out
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
