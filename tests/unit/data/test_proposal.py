"""From a few files to a configuration that reads them."""

import csv
import datetime as dt
import random
import re
import tomllib

import pytest

from securefl.config.files import FileFormat
from securefl.data.guess import guess
from securefl.data.sources.files.locate import table_files
from securefl.data.sources.files.scans import scans
from support.paths import page

HEADERS = {
    "english": "CustomerID,StockCode,InvoiceDate,Quantity,UnitPrice,InvoiceNo",
    "german": "Kundennummer;Artikelnr;Datum;Menge;Einzelpreis;Bon-Nr.",
    "french": "Code client;Code produit;Date de vente;Quantité;Prix unitaire;Ticket",
    "spanish": "Cliente;Artículo;Fecha;Cantidad;Precio unitario;Factura",
    "italian": "Tessera;Codice articolo;Data;Quantità;Prezzo unitario;Scontrino",
    "polish": "Nr klienta;Towar;Data sprzedaży;Ilość;Cena jednostkowa;Paragon",
    "dutch": "Klantnummer;Artikelnummer;Datum;Aantal;Stukprijs;Bonnummer",
    "portuguese": "Cliente;Código;Data venda;Quantidade;Preço unitário;Fatura",
}


def guessed(path, given=None):
    """What is guessed of a file."""
    with scans(table_files(path)[0], FileFormat(), ()) as found:
        return guess(next(found), given or {})


@pytest.mark.parametrize("language", HEADERS)
def test_columns_are_guessed_from_names(tmp_path, language):
    """Each of eight languages, in the order customer, product, time, quantity, price, receipt."""
    header = HEADERS[language]
    mark = ";" if ";" in header else ","
    row = mark.join(["7", "A1", "2024-03-30 10:00", "2", "1.50" if mark == "," else "1,50", "R1"])
    path = tmp_path / "sales.csv"
    path.write_text(f"{header}\n{row}\n", encoding="utf-8")
    found = guessed(path)
    names = header.split(mark)
    roles = ("customer", "product", "time", "quantity", "price", "basket")
    assert found.roles == dict(zip(roles, names, strict=True))
    assert found.missing == ()
    said = found.format.model_dump(exclude_defaults=True)
    assert said == ({} if mark == "," else {"separator": ";", "decimal": ","})


def test_a_column_is_guessed_from_its_cells(tmp_path):
    """Days are found under any name; what no one could guess is asked for."""
    path = tmp_path / "sales.csv"
    path.write_text("customer,product,x,quantity,value\n7,a,30.03.2024,1,2\n")
    assert guessed(path).roles["time"] == "x"
    assert guessed(path).format.time == "day-first"
    path.write_text("c1,product,time,quantity,value\n7,a,2024-03-30,1,2\n")
    assert guessed(path).missing == ("customer",)
    assert guessed(path, {"customer": "c1"}).missing == ()


def export(path, seed):
    """An online retailer's export as a European spreadsheet writes it, with all its faults."""
    draw = random.Random(seed)
    rows = [
        ["Rechnung", "Artikel", "Bezeichnung", "Menge", "Datum", "Einzelpreis", "Kundennr", "Land"]
    ]
    for number in range(700):
        day = dt.date(2024, 1, 1) + dt.timedelta(days=number % 190)
        clock = f"{day:%d.%m.%Y} {9 + number % 9:02d}:{number % 60:02d}"
        customer = f"{17850 + number % 25}" + (".0" if number % 7 else "")
        for _ in range(4):
            product = min(int(draw.paretovariate(0.6)), 60)
            price = f"{1 + product % 9},{draw.randrange(100):02d}"
            row = [
                f"{536000 + number}",
                f"{product:05d}",
                "Müsli & Käse",
                "1",
                clock,
                price,
                customer,
                "Österreich",
            ]
            rows.append(row)
    for number in range(20):
        rows.append(
            ["C" + rows[5 + number][0], *rows[5 + number][1:3], "-1", *rows[5 + number][4:]]
        )
        rows.append([*rows[9 + number][:6], "", "Österreich"])
    rows.append(
        [
            "A563185",
            "00001",
            "Forderung abschreiben",
            "1",
            "12.03.2024 14:50",
            "-11062,06",
            "",
            "Österreich",
        ]
    )
    with path.open("w", encoding="cp1252", newline="") as file:
        csv.writer(file, delimiter=";", lineterminator="\r\n").writerows(rows)


def test_a_european_export_to_a_result(here, cli):
    """The commands of own-files.md, from three exports to a trained model, without an edit."""
    text = page("own-files.md").read_text(encoding="utf-8")
    commands = re.search(r"```sh\n(.*?)```", text, flags=re.DOTALL)[1].splitlines()
    init, check, run = (command.split()[1:] for command in commands)
    for seed, name in enumerate(init[2:]):
        export(here / name, seed)
    outcome = cli(*init)
    assert outcome.code == 0, outcome
    text = (here / "securefl.toml").read_text(encoding="utf-8")
    tree = tomllib.loads(text)
    assert tree["data"]["members"][0]["format"] == {
        "encoding": "cp1252",
        "separator": ";",
        "decimal": ",",
        "time": "day-first",
    }
    assert tree["data"]["rules"] == {
        "anonymous": "keep",
        "returns": "net",
        "negative_value": "drop",
    }
    assert tree["data"]["period"] == ["2024-01-01", "2024-07-08"]
    assert "rules.returns" in outcome.out
    outcome = cli(*check)
    assert outcome.code == 0, outcome
    assert "A run would read these data." in outcome.out
    (here / "securefl.toml").write_text(text, encoding="utf-8-sig")
    outcome = cli("data", "describe", "securefl.toml", "--format", "json")
    assert [member["customers"] for member in outcome.json["members"]] == [25, 25, 25]
    outcome = cli(*run, "--rounds", "1", "--no-references", "--quiet")
    assert outcome.code == 0, outcome
    assert (here / "runs" / "first" / "model.safetensors").exists()


@pytest.mark.slow
def test_too_few_lines_name_the_next_step(here, cli):
    """Not the command that was just given, nor a run that cannot begin."""
    for name in ("a.csv", "b.csv", "c.csv"):
        lines = "7,milk,2024-03-05,1,1\n8,tea,2024-03-12,1,1\n"
        (here / name).write_text("customer,product,time,quantity,value\n" + lines)
    outcome = cli("data", "init", "a.csv", "b.csv", "c.csv")
    assert outcome.code == 0, outcome
    said = " ".join(outcome.out.split())
    assert "task recommendation: too thin, with the mildest thresholds too" in said
    assert "Export more weeks or more customers" in said
    assert "delete securefl.toml and catalogue.csv" in said
    for wrong in ("securefl data init proposes", "securefl run"):
        assert wrong not in said + (here / "securefl.toml").read_text(encoding="utf-8")


def test_nothing_is_overwritten(here, cli):
    """Neither a configuration nor a catalogue."""
    (here / "a.csv").write_text("customer,product,time,quantity,value\n7,a,2024-03-30,1,2\n")
    (here / "securefl.toml").write_text("mine")
    assert "nothing was written" in cli("data", "init", "a.csv").err
    (here / "catalogue.csv").write_text("mine")
    outcome = cli("data", "init", "a.csv", "--out", "b.toml")
    assert "use it with --catalogue" in outcome.err
    assert (
        "ROLE is customer" in cli("data", "init", "a.csv", "--column", "x=y", "--out", "b.toml").err
    )
    (here / "a.csv").write_text("x,product,time,quantity,value\n7,a,2024-03-30,1,2\n")
    assert (
        "say it with --column customer=NAME" in cli("data", "init", "a.csv", "--out", "b.toml").err
    )
    assert (here / "catalogue.csv").read_text() == "mine"


def test_what_spreadsheets_leave_in_an_export(here, cli):
    """Excel's line with the separator, a header in the middle, titles, and no line at all."""
    header = "customer;product;time;quantity;value\r\n"
    lines = [f"{n % 9};a{n % 5};2024-03-{n % 28 + 1:02};1;2,50\r\n" for n in range(400)]
    text = "".join(["sep=;\r\n", header, *lines[:9], header, *lines[9:]])
    (here / "a.csv").write_text(text, newline="")
    outcome = cli("data", "init", "a.csv", "--out", "a.toml")
    assert 'rules.broken = "drop": 1 lines or more' in outcome.out
    products = (here / "catalogue.csv").read_text().splitlines()
    assert products == ["product", "a0", "a1", "a2", "a3", "a4"]
    (here / "b.csv").write_text("Sales of March\r\n\r\n" + header, newline="")
    assert cli("data", "init", "b.csv", "--out", "b.toml").refused("if titles stand above")
    (here / "c.csv").write_text(header, newline="")
    (here / "catalogue.csv").unlink()
    assert cli("data", "init", "c.csv", "--out", "b.toml").refused("no line has a product")
    assert sorted(path.name for path in here.iterdir()) == ["a.csv", "a.toml", "b.csv", "c.csv"]
