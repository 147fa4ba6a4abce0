"""An agreement between five companies."""

from datetime import UTC, datetime, timedelta

import pytest

from securefl.config.load import load_config
from securefl.consortium.agreement.model import new_agreement
from securefl.consortium.agreement.signatures import signed_by
from securefl.consortium.keys.parties import party_of
from support.named_keys import key_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def now():
    return NOW


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
