"""Facts from catalogue and period alone: nobody's tables are read, and everybody can check them."""

import datetime as dt

import numpy as np
import pytest

from securefl.config.load import load_config
from securefl.errors import AgreementError, ConfigError, DataError
from securefl.federation.runs.prepare import prepare
from securefl.federation.services.facts_file import open_facts
from securefl.federation.services.public_facts import check_facts, make_facts

PRODUCTS = [f"item-{number}" for number in range(12)]
MEMBERS = [{"name": name, "transactions": f"{name}.csv"} for name in ("north", "south", "west")]
PERIOD = ("2024-01-03", "2024-12-29")
TASKS = {
    "recommendation": {
        "recommendation": {"min_households": 1, "min_products": 4},
        "model": {"name": "mf"},
    },
    "demand": {"demand": {"level": "category"}},
}


def config(folder, task="recommendation", **data):
    options = {
        "source": "files",
        "root": str(folder),
        "catalogue": "catalogue.csv",
        "catalogue_columns": {"department": "department", "category": "category"},
        "members": MEMBERS,
        "period": PERIOD,
        "rules": {"known_customers": ["0"]},
    }
    return load_config(None, {"task": task, "data": options | data, **TASKS[task]})


@pytest.fixture
def agreed(tmp_path):
    """A folder with the agreed catalogue, and no table of any member."""
    lines = [f"{name},d{n % 2},c{n % 3}" for n, name in enumerate(PRODUCTS)]
    text = "\n".join(["product,department,category", *lines])
    (tmp_path / "catalogue.csv").write_text(text)
    return tmp_path


@pytest.fixture
def shops(agreed):
    """The same with three members, who also sold before and after the period."""
    draw = np.random.default_rng(3)
    for member in MEMBERS:
        rows = ["customer,product,time,quantity,value"]
        for customer in range(30):
            days = np.sort(draw.choice(450, 15, replace=False))
            for day in days:
                time = dt.date(2023, 12, 1) + dt.timedelta(days=int(day))
                rows.append(f"{customer},{draw.choice(PRODUCTS)},{time},1,1.0")
        (agreed / member["transactions"]).write_text("\n".join(rows))
    return agreed


@pytest.mark.parametrize("task", TASKS)
def test_facts_are_made_where_there_is_no_table(agreed, task):
    made = make_facts(config(agreed, task), agreed / "facts")
    assert open_facts(agreed / "facts").digest == made.digest
    if task == "recommendation":
        assert made.content.products.tolist() == list(range(len(PRODUCTS)))
        assert np.datetime64(made.content.end, "ns") == np.datetime64(
            "2024-12-29T23:59:59.999999999"
        )
    else:
        assert str(made.content.steps[0]) == "2024-01-08"
        assert str(made.content.steps[-1]) == "2024-12-23"
        assert made.content.words.keys == ("", "c0", "c1", "c2")


def test_facts_say_the_same_whatever_the_tables_say(shops):
    made = make_facts(config(shops), shops / "facts")
    (shops / "north.csv").write_text(
        "customer,product,time,quantity,value\n1,item-1,2024-05-05,9,9\n"
    )
    assert make_facts(config(shops), shops / "again").digest == made.digest


def test_a_run_on_one_machine_trains_on_the_agreed_facts(shops):
    made, prepared = make_facts(config(shops), shops / "facts"), prepare(config(shops))
    assert prepared.facts.products.tolist() == made.content.products.tolist()
    assert prepared.facts.end == made.content.end


def test_what_lies_outside_the_period_is_not_read(shops):
    from securefl.data.sources.registry import load

    for tables in load(config(shops).data).members:
        assert tables.transactions["time"].min() >= np.datetime64("2024-01-03")
        assert tables.transactions["time"].max() < np.datetime64("2024-12-30")
    outside = config(shops, period=("2020-01-01", "2020-12-31"))
    with pytest.raises(DataError, match="no transactions of 'north'"):
        load(outside.data)


def test_a_member_accepts_the_facts_of_its_agreement(agreed):
    check_facts(config(agreed), make_facts(config(agreed), agreed / "facts"))


@pytest.mark.parametrize("change", ["first day", "last day", "catalogue", "task"])
def test_a_member_refuses_facts_that_do_not_fit_its_agreement(agreed, change):
    others = {
        "first day": config(agreed, period=("2024-01-04", "2024-12-29")),
        "last day": config(agreed, period=("2024-01-03", "2024-12-30")),
        "catalogue": config(agreed, catalogue="other.csv"),
        "task": config(agreed, "demand"),
    }
    text = (agreed / "catalogue.csv").read_text()
    (agreed / "other.csv").write_text(text.replace("item-11,", "item-99,"))
    facts = make_facts(others[change], agreed / "facts")
    with pytest.raises(AgreementError, match="not those of the agreed catalogue and period"):
        check_facts(config(agreed), facts)


BUDGET = {"dp": "local", "epsilon": 4.0}


def private(folder, **data):
    settings = config(folder, **data)
    tree = settings.model_dump(mode="json", exclude_none=True, exclude={"references"})
    return load_config(None, tree | {"privacy": BUDGET, "model": {"name": "profile"}})


def test_facts_off_tables_are_refused_under_a_budget(shops):
    """One purchase would move the calendar, and with it everyone's part; members refuse as well."""
    facts = make_facts(config(shops, period=None), shops / "facts")
    without = private(shops, period=None)
    for refused in (
        lambda: prepare(without),
        lambda: make_facts(without, shops / "more"),
        lambda: check_facts(without, facts),
    ):
        with pytest.raises(ConfigError, match=r"data.period is missing"):
            refused()


def test_one_customer_moves_no_agreed_fact(shops):
    """The first and the last purchase of all, and the only one of a product."""
    before = prepare(private(shops))
    with (shops / "north.csv").open("a") as file:
        file.write("\n999,item-11,2024-01-03,1,1.0\n999,item-10,2024-12-29,1e5,1.0\n")
    after = prepare(private(shops))
    assert np.array_equal(before.facts.products, after.facts.products)
    assert before.facts.end == after.facts.end
    assert np.array_equal(before.shared, after.shared)


def test_netted_returns_hide_no_single_record(shops):
    """One return is taken off many lines of its customer, so that it moves more than its own."""
    tree = {"task": "demand", "demand": {"level": "category"}, "privacy": BUDGET}
    data = config(shops, "demand").data.model_dump(mode="json", exclude_none=True)
    data["rules"]["returns"] = "net"
    for unit in ("customer", "record"):
        settings = load_config(None, tree | {"data": data, "privacy": BUDGET | {"unit": unit}})
        if unit == "customer":
            assert prepare(settings).members
        else:
            with pytest.raises(ConfigError, match="takes one return off many lines"):
                prepare(settings)


WRONG = "\n999,item-1,2024-05-05,-1,1.0\n999,item-1,05/31/2024,x,1.0\n,item-1,2024-05-05,1,1.0\n9\n"


def test_no_customers_lines_keep_a_retailer_out(shops):
    """A line that cannot be read, or the only customer: under a budget neither is told."""
    before = prepare(private(shops)).members[0]
    text = (shops / "north.csv").read_text()
    (shops / "north.csv").write_text(text + WRONG)
    after = prepare(private(shops)).members[0]
    assert np.array_equal(before.ids, after.ids)
    assert before.samples == after.samples > 0
    with pytest.raises(DataError):
        prepare(config(shops))
    (shops / "north.csv").write_text(text.splitlines()[0] + "\n")
    assert prepare(private(shops)).members[0].units == 0
