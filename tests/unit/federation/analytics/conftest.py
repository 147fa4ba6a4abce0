"""A few small retailers, a coordinator that asks them, and transports that lie in between."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from securefl.consortium.ledger.paths import LedgerPaths
from securefl.data.tables import RetailData, RetailerTables
from securefl.federation.analytics.columns import Catalogue
from securefl.federation.analytics.coordinator import analysts, ask
from securefl.federation.analytics.settings import analytics_config
from securefl.federation.transport.local import InProcess

NAMES = ("north", "south", "west", "east", "mid")


class NoWords:
    """Words that are all zero: of a customer's records, the first ones count."""

    def fill(self, words):
        words[:] = 0


def lines_of(customer, product, value, basket=0, quantity=1.0):
    names = ("customer", "product", "value", "basket", "quantity")
    rows = np.broadcast_arrays(customer, product, value, basket, quantity)
    table = pd.DataFrame(dict(zip(names, rows, strict=True)))
    table = table.astype({"value": float, "quantity": float})
    return table.assign(time=pd.Timestamp("2026-01-05"), discount=0.0)


def random_lines(seed, customers=40, lines=600, products=12):
    draw = np.random.default_rng(seed)
    return lines_of(
        draw.integers(0, customers, lines),
        draw.integers(0, products, lines),
        draw.gamma(2.0, 3.0, lines).round(2),
        draw.integers(0, 5, lines),
        draw.integers(1, 4, lines),
    )


@pytest.fixture(scope="session")
def products():
    numbers = np.arange(12)
    return pd.DataFrame(
        {
            "product": numbers,
            "department": [f"d{n % 2}" for n in numbers],
            "category": [f"c{n % 5}" for n in numbers],
            "kind": [f"kind {n}" for n in numbers],
            "brand": "",
            "size": "",
        }
    )


@pytest.fixture(scope="session")
def catalogue(products):
    return Catalogue(products)


@pytest.fixture
def data(products):
    members = tuple(RetailerTables(n, random_lines(i)) for i, n in enumerate(NAMES))
    return RetailData("test", members, products)


@pytest.fixture
def config():
    return lambda epsilon=1.0, **options: analytics_config(
        data="tutorial", epsilon=epsilon, **options
    )


@pytest.fixture
def asked(tmp_path, data, catalogue, config):
    """Asks a query of all members; the books are the same in all queries of a test."""

    def run(query, *, epsilon=1.0, policy=None, change=None, wrap=None, tables=data, **options):
        places = LedgerPaths(tmp_path / "books", policy)
        specs = analysts(config(epsilon, **options), tables, catalogue, places)
        specs = [change(spec) if change else spec for spec in specs]
        engine = InProcess(specs)
        with wrap(engine) if wrap else engine as transport:
            found = ask(specs[0].consortium, catalogue, query, transport)
        return SimpleNamespace(sum=found, specs=specs, places=places)

    return run


@pytest.fixture
def with_tables():
    """Gives one member other tables."""
    return lambda name, tables: (
        lambda spec: replace(spec, tables=tables) if spec.name == name else spec
    )


@pytest.fixture(scope="session")
def tables_of():
    """Makes transactions."""
    return SimpleNamespace(lines=lines_of, random=random_lines, no_words=NoWords())
