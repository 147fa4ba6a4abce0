"""Unlike catalogues aligned by messages in a folder: what meets, what does not, what is seen."""

import csv
import stat

import numpy as np
import pytest

from securefl.config.data import FilesSettings
from securefl.consortium.alignment.coordination import begin, combine, join
from securefl.consortium.alignment.plan import read_plan
from securefl.consortium.alignment.signed_files import HEADER, Exchange
from securefl.consortium.keys.key_files import generate_key
from securefl.consortium.keys.parties import party_of
from securefl.data.sources.files.gtin import check_digit
from securefl.data.sources.files.source import load
from securefl.errors import DataError, InputError

NAMES = ("north", "south", "west")
KEYS = {name: generate_key() for name in (*NAMES, "coordinator")}


def gtin(number, prefix="40063813"):
    digits = f"{prefix}{number:0{12 - len(prefix)}d}"
    return digits + check_digit(digits)


def spelled(digits, name):
    """What becomes of a GTIN at three retailers: whole, zeros lost, fourteen digits."""
    return {"north": digits, "south": digits.lstrip("0"), "west": digits.zfill(14)}[name]


def planted(name, rng):
    """A catalogue: shared products, own brands in shared groups, and a few that nobody else has.

    Returns its rows, and what each product truly is: a trade item, a group, or None.
    """
    rows, truth = [], {}
    for number in range(18):
        prefix = "00360002" if number % 2 else "40063813"
        label = spelled(gtin(number, prefix), name)
        words = {"north": "Yoghurt", "south": "yoghurt ", "west": "YOGHURT"}
        group = (words[name], "500 g") if number % 3 else ("Bread", "")
        rows.append((label, *group))
        truth[label] = ("item", number)
    for number in range(4):  # the same number at each retailer means another product
        label = gtin(number, "2012345")
        size = rng.choice(["500 g", "1 kg"])
        rows.append((label, "Yoghurt", size))
        truth[label] = ("group", "yoghurt", size)
    alone = gtin(NAMES.index(name), "50123456")
    rows.append((alone, f"Only {name}", "1 kg"))
    truth[alone] = None
    return rows, truth


@pytest.fixture
def shops(tmp_path):
    """Three members' catalogues and lines; products sell as unevenly as products do."""
    rng = np.random.default_rng(5)
    truths = {}
    for name in NAMES:
        rows, truths[name] = planted(name, rng)
        with (tmp_path / f"{name}-products.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("ean", "category", "size"), *rows])
        labels = list(truths[name])
        share = np.r_[np.ones(18), np.full(4, 0.5), 0.2]
        sold = rng.choice(len(labels), 400, p=share / share.sum())
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            lines = [(n % 40 + 1, labels[one], "2024-03-01", 1, 2) for n, one in enumerate(sold)]
            header = ("customer", "product", "time", "quantity", "value")
            csv.writer(file).writerows([header, *lines])
    return tmp_path, truths


def align(folder, names=NAMES, repeats=2, **options):
    """Start, join as often as anybody has something to do, combine; the members' last results."""
    agreed = {"size": 60, "least": None, "products": "gtin", "attributes": ("category", "size")}
    agreed |= options
    places = folder / "shared", folder / "coordinator", KEYS["coordinator"]
    begin(*places, members=parties(names), **agreed)
    for _ in range(repeats):
        found = {name: joined(folder, name) for name in names}
    combined(folder)
    return found | {name: joined(folder, name) for name in names}


def start(folder, members, size=60, attributes=()):
    agreed = {"least": None, "products": "gtin", "attributes": attributes}
    places = folder / "shared", folder / "coordinator", KEYS["coordinator"]
    begin(*places, members=parties(members), size=size, **agreed)


def parties(names):
    return [party_of(name, KEYS[name]) for name in names]


def combined(folder, state=None):
    return combine(folder / "shared", (state or folder) / "coordinator", KEYS["coordinator"])


def signed_again(path, content, name):
    """Write a changed message under a party's own signature."""
    exchange = Exchange(path.parent, read_plan(path.parent), KEYS[name])
    path.unlink()
    exchange.write(path.name, content[HEADER:])


def joined(folder, name, state="state"):
    paths = folder / f"{name}-products.csv", folder / f"{name}-{state}", folder / f"{name}-out"
    return join(folder / "shared", KEYS[name], *paths)


def rows_of(folder, name):
    with (folder / f"{name}-out" / f"{name}-rows.csv").open() as file:
        return {row["product"]: row["row"] for row in csv.DictReader(file)}


def test_three_unlike_catalogues_align(shops):
    """95 of 100 lines and more have a row of all members, and each the right one."""
    folder, truths = shops
    align(folder)
    catalogues = {(folder / f"{n}-out" / "catalogue.csv").read_bytes() for n in NAMES}
    assert len(catalogues) == 1
    (folder / "catalogue.csv").write_bytes(catalogues.pop())
    members = [
        {"name": n, "transactions": f"{n}.csv", "aligned": f"{n}-out/{n}-rows.csv"} for n in NAMES
    ]
    settings = FilesSettings.model_validate(
        {
            "root": folder,
            "catalogue": "catalogue.csv",
            "catalogue_columns": {"category": "category", "size": "size"},
            "identity": {"products": "gtin"},
            "members": members,
        }
    )
    data = load(settings)
    lines = np.concatenate([member.transactions["product"] for member in data.members])
    assert (lines >= 0).mean() >= 0.95
    # Labels share a row exactly where they are the same product, or the same kind of product.
    meaning = {}
    for name in NAMES:
        for label, row in rows_of(folder, name).items():
            assert meaning.setdefault(row, truths[name][label]) == truths[name][label]
    assert len(set(meaning.values())) == len(meaning)
    assert {what[0] for what in meaning.values()} == {"item", "group"}


def test_attributes_of_a_row_are_those_that_all_agree_on(shops):
    """A product that one member files elsewhere has a row, and no category."""
    folder, _ = shops
    path = folder / "west-products.csv"
    path.write_text(path.read_text().replace("Bread", "Bakery", 1))
    align(folder)
    with (folder / "north-out" / "catalogue.csv").open() as file:
        rows = {row["product"]: row for row in csv.DictReader(file)}
    assert rows["0" + gtin(0)]["category"] == ""
    assert rows["0" + gtin(2)] == {
        "product": "0" + gtin(2),
        "category": "yoghurt",
        "size": "500 g",
    }


def test_products_of_two_members_have_hidden_names(shops):
    """A member learns that there is such a row, and not which product of others it is."""
    folder, _ = shops
    path = folder / "north-products.csv"
    text = path.read_text()
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith(gtin(4))))
    align(folder, least=2)
    catalogue = (folder / "north-out" / "catalogue.csv").read_text()
    assert gtin(4) not in catalogue
    assert gtin(6) not in catalogue
    row = rows_of(folder, "south")[spelled(gtin(4), "south")]
    assert row == rows_of(folder, "west")[spelled(gtin(4), "west")]
    assert row in catalogue
    assert row not in rows_of(folder, "north").values()


def test_nothing_in_the_folder_names_a_product(shops):
    """No label and no attribute in any message, and all lists have one length."""
    folder, truths = shops
    align(folder)
    files = [path for path in (folder / "shared").iterdir() if path.name != "align.json"]
    assert len(files) == 9 + 3 + 1
    lists = {path.stat().st_size for path in files if path.name != "common.points"}
    assert len(lists) == 2  # points, and the sealed ones
    for path in files:
        content = path.read_bytes()
        for label in [*truths["north"], "oghurt"]:
            assert label.encode() not in content
    for name in NAMES:
        for path in (folder / f"{name}-state").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE((folder / f"{name}-out/{name}-rows.csv").stat().st_mode) == 0o600


def test_each_step_can_be_repeated(shops):
    """A member that was killed goes on; a lost message is written again as it was."""
    folder, _ = shops
    start(folder, NAMES)
    first = joined(folder, "north")
    assert first.written == ("north.0.points",)
    assert "west.0.points" in first.waiting
    own = folder / "shared" / "north.0.points"
    before = own.read_bytes()
    own.unlink()
    assert joined(folder, "north").written == ("north.0.points",)
    assert own.read_bytes() == before
    assert combined(folder).waiting == tuple(f"{name}.sealed" for name in NAMES)


def test_an_exchanged_list_is_refused(shops):
    """The second list of one member would try products that were not agreed on."""
    folder, _ = shops
    start(folder, NAMES)
    for name in NAMES:
        joined(folder, name)
    own = folder / "shared" / "north.0.points"
    content = own.read_bytes()
    body = content[HEADER:]
    signed_again(own, content[:HEADER] + body[32:64] + body[:32] + body[64:], "north")
    (folder / "shared" / "north.1.points").unlink(missing_ok=True)
    with pytest.raises(InputError, match="exchanged after south had worked"):
        joined(folder, "south")


def test_another_catalogue_needs_another_alignment(shops):
    """With the same secret, the difference of two sets would show."""
    folder, _ = shops
    start(folder, NAMES)
    joined(folder, "north")
    path = folder / "north-products.csv"
    path.write_text(path.read_text() + gtin(77) + ",Bread,\n")
    with pytest.raises(InputError, match="other products"):
        joined(folder, "north")


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("south.0.points", lambda content: content[:-32], "another length"),
        ("south.0.points", lambda content: content + bytes(32), "larger"),
        ("south.0.points", lambda content: b"x" + content[1:], "no message of this alignment"),
        ("south.0.points", lambda content: content[:8] + bytes(32) + content[40:], "no message"),
        ("south.0.points", lambda content: content[:-1] + b"x", "not signed by south"),
        ("south.0.points", lambda content: content[:40] + bytes(64) + content[104:], "not signed"),
        ("align.json", lambda content: content.replace(b'"size": 60', b'"size": 61'), "other pl"),
        ("align.json", lambda content: content.replace(b'"size": 60', b'"size": 0'), "size: "),
    ],
)
def test_a_damaged_file_is_refused(shops, name, change, reason):
    """By its name; a changed plan is another plan."""
    folder, _ = shops
    start(folder, NAMES)
    joined(folder, "south")
    path = folder / "shared" / name
    path.write_bytes(change(path.read_bytes()))
    who = "west" if name.endswith("points") else "south"
    with pytest.raises(InputError, match=reason):
        joined(folder, who)


def test_a_list_with_a_weak_point_is_refused(shops):
    """Its owner signed it, and every scalar would make the same of it."""
    folder, _ = shops
    start(folder, NAMES)
    joined(folder, "south")
    path = folder / "shared" / "south.0.points"
    signed_again(path, path.read_bytes()[:-32] + bytes(32), "south")
    with pytest.raises(InputError, match="low order"):
        joined(folder, "west")


def test_a_message_of_another_party_is_refused(shops):
    """Signed by a member in another one's place, or moved there, in every step and at the end."""
    folder, _ = shops
    start(folder, NAMES)
    for name in NAMES * 2:
        joined(folder, name)
    shared = folder / "shared"
    for file, writer, reader in (
        ("south.0.points", "north", "west"),
        ("south.1.points", "south", "north"),
        ("west.sealed", "north", None),
    ):
        path = shared / file
        kept = path.read_bytes()
        signed_again(path, kept, writer)
        with pytest.raises(InputError, match=f"{file} is not signed by"):
            combined(folder) if reader is None else joined(folder, reader)
        path.write_bytes(kept)
    (shared / "south.0.points").write_bytes((shared / "north.2.points").read_bytes())
    with pytest.raises(InputError, match=r"south\.0\.points is not signed by south"):
        joined(folder, "west")


def test_what_is_common_is_the_coordinators_word(shops):
    """A member that writes it could tell the others what they share."""
    folder, _ = shops
    align(folder)
    path = folder / "shared" / "common.points"
    signed_again(path, path.read_bytes(), "west")
    (folder / "north-out" / "catalogue.csv").unlink()
    with pytest.raises(InputError, match="not signed by the coordinator"):
        joined(folder, "north")


def test_a_key_that_the_plan_does_not_name_takes_no_part(shops):
    """Nor does the coordinator go by another identity, nor have two parties one key."""
    folder, _ = shops
    start(folder, NAMES)
    paths = folder / "north-products.csv", folder / "state", folder / "out"
    with pytest.raises(InputError, match="none of the members north, south, west"):
        join(folder / "shared", KEYS["coordinator"], *paths)
    with pytest.raises(InputError, match="another coordinator's key"):
        combine(folder / "shared", folder / "coordinator", KEYS["north"])
    twice = [party_of("a", KEYS["north"]), party_of("b", KEYS["north"])]
    agreed = {"size": 9, "least": None, "products": "gtin", "attributes": ()}
    with pytest.raises(InputError, match="same key"):
        begin(folder / "other", folder / "o-state", KEYS["coordinator"], members=twice, **agreed)


def test_only_the_agreed_coordinator_opens_lists(shops):
    """A sealed list that was changed, and a key that is not in the plan."""
    folder, _ = shops
    for change in (False, True):
        place = folder / str(change)
        place.mkdir()
        for name in NAMES[:2]:
            (place / f"{name}-products.csv").write_text("ean\n" + gtin(1) + "\n")
        start(place, NAMES[:2], size=4)
        for name in NAMES[:2] * 2:
            joined(place, name)
        if change:
            path = place / "shared" / "north.sealed"
            signed_again(path, path.read_bytes()[:-1] + b"\0", "north")
    with pytest.raises(InputError, match="another coordinator's key"):
        combined(folder / "True", folder / "False")
    with pytest.raises(InputError, match="cannot be opened"):
        combined(folder / "True")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"members": ("north",)}, "at least 2"),
        ({"members": ("north", "North")}, "same name"),
        ({"least": 4}, "not so many"),
        ({"least": 1}, "greater than or equal to 2"),
        ({"attributes": ("colour",)}, "department"),
        ({"attributes": ("size", "size")}, "twice"),
    ],
)
def test_impossible_plans_are_refused(tmp_path, changes, reason):
    """Before any key is made."""
    options = {"members": NAMES, "size": 9, "least": None, "products": "gtin", "attributes": ()}
    tree = {**options, **changes}
    tree["members"] = [party_of(name, KEYS[name.lower()]) for name in tree["members"]]
    with pytest.raises(InputError, match=reason):
        begin(tmp_path / "shared", tmp_path / "state", KEYS["coordinator"], **tree)
    assert not list(tmp_path.iterdir())


def test_secrets_do_not_lie_in_the_exchange(shops):
    """Nor does a member that the plan does not name take part, nor one with too many products."""
    folder, _ = shops
    start(folder, NAMES[:2], size=10)
    paths = folder / "north-products.csv", folder / "shared" / "state", folder
    with pytest.raises(InputError, match="all parties would read"):
        join(folder / "shared", KEYS["north"], *paths)
    with pytest.raises(InputError, match="members north, south"):
        joined(folder, "west")
    with pytest.raises(InputError, match="do not fit"):
        joined(folder, "north")


def test_a_catalogue_without_the_agreed_column_is_refused(shops):
    """Or with a label twice."""
    folder, _ = shops
    start(folder, NAMES, size=20, attributes=("brand",))
    with pytest.raises(InputError, match="seems to be brand"):
        joined(folder, "north")
    (folder / "south-products.csv").write_text("ean,brand\nx,y\nx,z\n")
    with pytest.raises(DataError, match="x occurs twice"):
        joined(folder, "south")


def test_a_plan_that_cannot_be_written_leaves_no_key(tmp_path):
    """It would be in the way of the next try: a key is never overwritten."""
    (tmp_path / "shared").write_text("mine")
    with pytest.raises(InputError):
        start(tmp_path, NAMES)
    assert not list((tmp_path / "coordinator").iterdir())
    (tmp_path / "shared").unlink()
    start(tmp_path, NAMES)
    assert (tmp_path / "shared" / "align.json").exists()
