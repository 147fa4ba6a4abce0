"""Five companies with keys, and an agreement between them."""

from datetime import UTC, datetime, timedelta

import pytest

from securefl.config.load import load_config
from securefl.consortium.agreement.model import new_agreement
from securefl.consortium.agreement.signatures import signed_by
from securefl.consortium.keys.parties import party_of
from securefl_protocols.primitives.entropy import DeterministicEntropy
from securefl_protocols.primitives.signing import SigningKey

NAMES = ("north", "south", "west", "east", "centre")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def key_of(name, generation=0):
    seed = f"{name} {generation}".encode().ljust(32, b".")
    return SigningKey.generate(DeterministicEntropy(seed))


@pytest.fixture(scope="session")
def now():
    return NOW


@pytest.fixture(scope="session")
def new_key():
    """A key by name and generation; the same every time."""
    return key_of


@pytest.fixture(scope="session")
def keys():
    return {name: key_of(name) for name in NAMES}


@pytest.fixture(scope="session")
def config():
    return load_config(None, {"data": {"source": "tutorial"}})


@pytest.fixture
def agreement(keys, config):
    return new_agreement(
        "grocers",
        tuple(party_of(name, key) for name, key in keys.items()),
        config,
        created=NOW - timedelta(days=1),
        expires=NOW + timedelta(days=30),
        coordinator=party_of("hub", key_of("hub")),
    )


@pytest.fixture
def signed(agreement, keys):
    return signed_by(agreement, keys)
