"""All faults of own files in one reading, with counts, shares and corrections."""

import json

import pytest

from securefl.config.data import FilesSettings, TutorialSettings
from securefl.data.check import as_tree, check, page, revenue_of

HEADER = "customer,product,time,quantity,value\n"
GOOD = "".join(f"{n},milk,2024-03-{1 + n % 28:02d},1,1.00\n" for n in range(1, 7))
BAD = (
    ",tea,2024-03-05,1,2.00\n"
    "8,tea,2024-03-05,-1,-2.00\n"
    "9,tea,2024-03-99,1,2.00\n"
    "9,MILK,2024-03-09,1,3\n"
    "9,milk,2024-03-09,1,<b>x\n"
)


@pytest.fixture
def shop(tmp_path):
    """Two members: one with faults of many kinds, one whose file has no header that fits."""
    (tmp_path / "catalogue.csv").write_text("product\nmilk\ntea\n")
    (tmp_path / "north").mkdir()
    (tmp_path / "north" / "1.csv").write_text(HEADER + GOOD + BAD)
    (tmp_path / "north" / "2.csv").write_text(HEADER + "10,milk,2024-03-11,0,0\n" + BAD)
    (tmp_path / "south.csv").write_text("card,sku\n1,milk\n")
    return tmp_path


def settings(folder, **changes):
    members = [
        {"name": "north", "transactions": "north"},
        {"name": "south", "transactions": "south.csv"},
    ]
    return FilesSettings.model_validate(
        {"root": folder, "catalogue": "catalogue.csv", "members": members, **changes}
    )


def test_a_check_lists_all_faults_at_once(shop):
    """A member that cannot be read at all does not hide the faults of the other."""
    report = check(settings(shop))
    found = {(fault.member, fault.rule): fault for fault in report.faults}
    assert report.refused
    assert report.lines == {"north": 17, "south": 0}
    assert {rule for member, rule in found if member == "north"} >= {
        "anonymous",
        "returns",
        "cells",
        "zero_quantity",
        "near_products",
    }
    assert found["south", "unreadable"].first[0][2].endswith("no column 'customer'")
    anonymous = found["north", "anonymous"]
    assert anonymous.lines == 2
    assert [row for _, row, _ in anonymous.first] == [7, 2]
    assert anonymous.share_of_lines == pytest.approx(2 / 17)
    assert anonymous.share_of_revenue == pytest.approx(4 / report.revenue["north"])
    assert "rules.anonymous" in anonymous.correction
    assert len(anonymous.files) == 2


def test_what_rules_leave_out_is_counted(shop):
    """With every rule set, nothing is refused, and each rule says how much it took."""
    rules = {
        "anonymous": "drop",
        "returns": "drop",
        "zero_quantity": "drop",
        "broken": "drop",
        "near_products": "match",
    }
    (shop / "south.csv").write_text(HEADER + GOOD)
    report = check(settings(shop, rules=rules))
    assert not report.refused
    dropped = [(fault.rule, fault.lines) for fault in report.faults if fault.action == "drop"]
    assert sorted(dropped) == [
        ("anonymous", 2),
        ("cells", 2),
        ("cells", 2),
        ("returns", 2),
        ("zero_quantity", 1),
    ]
    assert not any(fault.correction for fault in report.faults)


def test_a_member_whose_days_end_early_is_named(shop):
    """Where no period was agreed, members' days are compared with each other."""
    days = [f"2024-{month:02d}-15" for month in range(1, 13)]
    for name, own in (("north/1", days), ("north/2", days[:1]), ("south", days[:7])):
        lines = "".join(f"7,milk,{day},1,{name[-1]}.0\n".replace("h.0", "1") for day in own)
        (shop / f"{name}.csv").write_text(HEADER + lines)
    (fault,) = [one for one in check(settings(shop)).faults if one.action == "refuse"]
    assert (fault.member, fault.rule) == ("south", "short_coverage")
    assert "from 2024-01-15 to 2024-07-15" in fault.first[0][2]
    assert "data.period" in fault.correction
    assert not check(settings(shop, rules={"short_coverage": "keep"})).refused
    assert not check(settings(shop, period=["2024-01-01", "2024-07-20"])).refused


def test_a_report_is_json_and_a_page(shop):
    """What stands in a cell is text there, and never markup."""
    report = check(settings(shop))
    tree = json.loads(json.dumps(as_tree(report)))
    assert tree["refused"] is True
    assert tree["findings"][0]["action"] == "refuse"
    text = page(report)
    assert "&#39;&lt;b&gt;x&#39; is not a number" in text
    assert "<b>" not in text
    assert "default-src 'none'" in text


def test_other_sources_are_checked_by_loading():
    """Generated data have nothing that a rule could meet."""
    report = check(TutorialSettings(customers=5, items=4, interactions=(5, 9)))
    assert not report.refused
    assert len(report.lines) == 5


def test_a_check_on_the_command_line(shop, cli):
    """Exit code 2 where a run would refuse; the page is written all the same."""
    (shop / "run.toml").write_text(
        '[data]\nsource = "files"\ncatalogue = "catalogue.csv"\n'
        '[[data.members]]\nname = "north"\ntransactions = "north"\n'
    )
    outcome = cli("data", "check", shop / "run.toml", "--html", shop / "check.html")
    assert outcome.code == 2
    assert "6 fault(s)" in outcome.out
    assert "To go on: set rules.anonymous" in outcome.out
    assert (shop / "check.html").read_text().startswith("<!doctype html>")
    outcome = cli("data", "check", shop / "run.toml", "--format", "json")
    assert json.loads(outcome.out)["members"] == [{"name": "north", "lines": 17, "revenue": 16.0}]


def test_a_negative_sum_is_no_share(shop):
    """Beside a large negative line, shares of the revenue are below 0 or above 1: amounts stay."""
    large = "7,milk,2024-03-05,1,-90.00\n8,milk,2024-03-06,1,100.00\n,milk,2024-03-07,1,30.00\n"
    for name in ("north/1", "north/2", "south"):
        (shop / f"{name}.csv").write_text(HEADER + (large if name == "south" else GOOD))
    report = check(settings(shop))
    found = {fault.rule: fault for fault in report.faults if fault.member == "south"}
    negative, anonymous = found["negative_value"], found["anonymous"]
    assert report.revenue["south"] == pytest.approx(40)
    assert negative.share_of_revenue is None
    said = "-90.00, where all lines together come to 40.00"
    assert revenue_of(negative, report.revenue["south"]) == said
    assert revenue_of(anonymous, report.revenue["south"]) == "30.00, 75.00% of the revenue"
    assert said in page(report)
    assert "-225" not in page(report)
