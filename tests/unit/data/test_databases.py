"""A member's lines in DuckDB, SQLite, PostgreSQL and Excel: the same lines, and only read."""

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from pydantic import ValidationError

from securefl.config.data import FilesSettings
from securefl.config.load import load_config
from securefl.data.sources.files.engine import engine
from securefl.data.sources.registry import load
from securefl.errors import InputError
from securefl.federation.runs.prepare import prepare
from support.paths import page
from support.small_runs import purchases_in

ROWS = [
    (7, "milk", "2024-03-01 10:00:00", 1.5, 2.50),
    (8, "tea", "2024-03-02 11:30:00", 2.0, 4.25),
]
NAMES = ("customer", "product", "time", "quantity", "value")
QUERY = "SELECT * FROM sales"


@pytest.fixture
def shop(tmp_path):
    """A catalogue, and the same two lines in a DuckDB and a SQLite file."""
    (tmp_path / "catalogue.csv").write_text("product\nmilk\ntea\n")
    frame = pd.DataFrame(ROWS, columns=NAMES)
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as base:
        base.execute("CREATE TABLE sales AS SELECT * FROM frame")
    with sqlite3.connect(tmp_path / "shop.db") as base:
        frame.to_sql("sales", base, index=False)
    base.close()
    frame.assign(time=pd.to_datetime(frame["time"])).to_excel(tmp_path / "sales.xlsx", index=False)
    return tmp_path


def sales(folder, query=QUERY, **member):
    """The lines of a member."""
    settings = FilesSettings.model_validate(
        {
            "root": folder,
            "catalogue": "catalogue.csv",
            "members": [{"name": "m", "transactions": query, **member}],
        }
    )
    return load(settings).members[0].transactions


@pytest.mark.parametrize(
    "member",
    [{"database": "shop.duckdb"}, {"database": "shop.db"}, {"query": "sales.xlsx"}],
    ids=["duckdb", "sqlite", "excel"],
)
def test_lines_of_a_database(shop, member):
    """Wherever they come from, the lines are the same."""
    frame = sales(shop, **member)
    assert frame["customer"].tolist() == [7, 8]
    assert frame["value"].tolist() == [2.5, 4.25]
    assert frame["time"].iloc[1] == pd.Timestamp("2024-03-02 11:30")


@pytest.mark.parametrize("database", ["shop.duckdb", "shop.db"])
@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM sales",
        "INSERT INTO sales SELECT * FROM sales",
        "SELECT * FROM sales; DELETE FROM sales",
        "WITH x AS (DELETE FROM sales RETURNING *) SELECT * FROM x",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT load_extension('x')",
        "SELECT * FROM glob('/*')",
        "COPY sales TO '/tmp/x.csv'",
        "ATTACH 'other.db' AS o",
        "PRAGMA database_list",
        "SELECT * FROM (SELECT 1) WHERE (SELECT count(*) FROM nowhere)",
    ],
)
def test_a_query_can_only_read(shop, database, query):
    """What a configuration of others asks of a member's database is refused by it."""
    before = (shop / database).read_bytes()
    with pytest.raises(InputError):
        sales(shop, query, database=database)
    assert (shop / database).read_bytes() == before


def test_an_engine_reaches_no_other_file(shop):
    """Files, settings and extensions are closed as soon as the engine is open."""
    path = shop / "catalogue.csv"
    with engine([path]) as connection:
        assert connection.execute(f"SELECT count(*) FROM read_csv('{path}')").fetchone() == (2,)
        for query in (
            "SELECT * FROM read_text('/etc/passwd')",
            f"COPY (SELECT 1) TO '{shop / 'out.csv'}'",
            f"ATTACH '{shop / 'new.duckdb'}'",
            "SET enable_external_access = true",
            "SET memory_limit = '1TB'",
            "INSTALL httpfs",
            "LOAD httpfs",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(query)
    assert sorted(p.name for p in shop.iterdir()) == [
        "catalogue.csv", "sales.xlsx", "shop.db", "shop.duckdb"
    ]  # fmt: skip


def test_a_password_has_no_place_in_a_configuration(shop):
    """The configuration goes to all members."""
    for database in ("postgresql://me:secret@host/shop", "postgresql://host/shop?password=x"):
        with pytest.raises(ValidationError, match="password does not belong here"):
            sales(shop, database=database)


def test_a_workbook_of_two_sheets_is_asked_about(shop):
    """Nothing says which of two sheets is meant."""
    with pd.ExcelWriter(shop / "sales.xlsx") as book:
        pd.DataFrame(ROWS, columns=NAMES).to_excel(book, sheet_name="March", index=False)
        pd.DataFrame([("x",)]).to_excel(book, sheet_name="Notes", index=False)
    with pytest.raises(InputError, match=r"set format.sheet to one of 'March', 'Notes'"):
        sales(shop, "sales.xlsx")
    assert len(sales(shop, "sales.xlsx", format={"sheet": "March"})) == 2
    (shop / "sales.xlsx").write_bytes(b"no workbook")
    with pytest.raises(InputError, match="cannot be read"):
        sales(shop, "sales.xlsx")


def _binaries():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A PostgreSQL of the distribution, on a socket of its own; its URI."""
    pytest.importorskip("adbc_driver_postgresql", reason="needs the extra postgres")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    root = os.geteuid() == 0
    if root and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    # A socket's path has at most 107 bytes, which pytest's folders exceed.
    folder = Path(
        subprocess.check_output(["mktemp", "-d", "/tmp/sfl-pg-XXXXXX"], text=True).strip()
    )
    as_user = ["runuser", "-u", "postgres", "--"] if root else []
    if root:
        shutil.chown(folder, "postgres")

    def call(*words):
        subprocess.run([*as_user, *map(str, words)], check=True, capture_output=True, cwd="/")

    try:
        call(binaries / "initdb", "-D", folder / "data", "-A", "trust", "-U", "member", "-N")
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        call(
            binaries / "pg_ctl",
            "-D",
            folder / "data",
            "-w",
            "-l",
            folder / "log",
            "-o",
            options,
            "start",
        )
        try:
            yield f"postgresql:///postgres?host={folder}&user=member"
        finally:
            call(binaries / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_lines_of_a_postgresql(shop, postgres):
    """Numbers that PostgreSQL keeps as NUMERIC, dates and text arrive as they are, read-only."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(postgres) as base, base.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE sales (customer int, product text, time timestamp,"
            " quantity numeric(9,3), value numeric(9,2))"
        )
        for row in ROWS:
            values = ", ".join(f"'{cell}'" for cell in row)
            cursor.execute(f"INSERT INTO sales VALUES ({values})")
        base.commit()
    frame = sales(shop, database=postgres)
    assert frame["quantity"].tolist() == [1.5, 2.0]
    assert frame["value"].sum() == 6.75
    assert frame["time"].iloc[0] == pd.Timestamp("2024-03-01 10:00")
    for query in (
        "DELETE FROM sales",
        "WITH x AS (DELETE FROM sales RETURNING *) SELECT * FROM x",
        "SELECT * FROM sales; DELETE FROM sales",
        "SELECT set_config('transaction_read_only', 'off', false), * FROM sales",
        "SELECT * FROM nowhere",
    ):
        with pytest.raises(InputError):
            sales(shop, query, database=postgres)
    assert len(sales(shop, database=postgres)) == 2


def test_a_member_in_a_postgresql_trains_as_from_files(tmp_path, postgres):
    """The same lines, bit for bit, and so the same training arrays, beside members with files."""
    from adbc_driver_postgresql import dbapi

    tree = purchases_in(tmp_path)
    files = load_config(None, tree)
    lines = pd.read_csv(tmp_path / "north.csv")
    rows = ", ".join(str(tuple(map(str, row))) for row in lines.itertuples(index=False))
    with dbapi.connect(postgres) as base, base.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE receipts (customer int, product int, time timestamp, quantity int,"
            " value numeric(9,2), basket int)"
        )
        cursor.execute(f"INSERT INTO receipts VALUES {rows}")
        base.commit()
    (tmp_path / "north.csv").unlink()
    north = {"name": "north", "database": postgres, "transactions": "SELECT * FROM receipts"}
    tree["data"]["members"][0] = north
    config = load_config(None, tree)
    found = prepare(config)
    lines.to_csv(tmp_path / "north.csv", index=False)
    wanted = prepare(files)
    assert found.digests == wanted.digests
    for one, other in zip(found.members, wanted.members, strict=True):
        for name in ("start", "items", "weights", "baskets"):
            columns = [getattr(member.examples.histories, name) for member in (one, other)]
            assert columns[0].equal(columns[1])


@pytest.mark.slow
def test_the_page_on_postgresql(tmp_path, postgres, cli, monkeypatch):
    """All commands of docs/howto/postgresql.md, from an export to a result."""
    purchases_in(tmp_path)
    for name in ("north", "south", "west"):
        lines = pd.read_csv(tmp_path / f"{name}.csv").rename(columns={"basket": "receipt"})
        lines.assign(customer=lines["customer"] + 1).to_csv(tmp_path / f"{name}.csv", index=False)
    text = page("postgresql.md").read_text(encoding="utf-8")
    settings = re.search(r"```toml\n(.*?)```", text, flags=re.DOTALL)[1]
    few = "[recommendation]\nmin_households = 1\nmin_products = 4\n"
    (tmp_path / "own.toml").write_text(settings + few, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGHOST", re.search(r"host=([^&]+)", postgres)[1])
    monkeypatch.setenv("PGUSER", "member")
    monkeypatch.setenv("PATH", os.pathsep.join([str(_binaries()), os.environ["PATH"]]))
    commands = re.search(r"```sh\n(.*?)```", text, flags=re.DOTALL)[1].splitlines()
    for command in commands:
        program, *words = shlex.split(command)
        if program == "securefl":
            few_rounds = ["--rounds", "1", "--no-references", "--quiet"] * (words[0] == "run")
            outcome = cli(*words, *few_rounds)
            assert outcome.code == 0, outcome
        else:
            subprocess.run([program, *words], check=True, capture_output=True)
    assert (tmp_path / "runs" / "first" / "model.safetensors").exists()
