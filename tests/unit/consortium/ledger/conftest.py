"""A member of a small consortium with a book, and a coordinator's log of the same run."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from securefl.config.load import load_config, merge
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.agreement.model import new_agreement
from securefl.consortium.agreement.signatures import signed_by
from securefl.consortium.keys.key_files import generate_key
from securefl.consortium.keys.parties import party_of
from securefl.consortium.ledger.data_custody import LedgerContext
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.policy import Policy
from securefl.consortium.ledger.transparency_log import open_log
from securefl.privacy.accounting.events import SampledGaussian

NAMES = ("north", "south", "west", "east")
PRIVATE = {"rounds": 5, "privacy": {"dp": "local", "epsilon": 4.0, "delta": 1e-5}}
STEP = SampledGaussian(2.0, 0.5, 2)
MODEL = "ab" * 32


@pytest.fixture
def consortium():
    """Makes a consortium; the same keys in all of a test's consortia."""
    keys = {name: generate_key() for name in NAMES}
    now = datetime.now(UTC)

    def make(run=b"\x01" * 32, **changes):
        config = load_config(None, merge(PRIVATE, changes))
        agreement = new_agreement(
            "test",
            tuple(party_of(name, key) for name, key in keys.items()),
            config,
            created=now,
            expires=now + timedelta(days=1),
        )
        return SimpleNamespace(agreed=Consortium(signed_by(agreement, keys), run), keys=keys)

    return make


@pytest.fixture
def member(tmp_path, consortium):
    """Makes the ledger of a member in a run; its book is the same in all runs of a test."""

    def make(name="north", *, run=1, cap=None, digest="d", label="tables", **changes):
        world = consortium(bytes([run]) * 32, **changes)
        policy = None
        if cap is not None:
            caps = {"customer": {"epsilon": cap, "delta": 1e-5}}
            policy = Policy(version=1, data_set="customers", cap=caps, modes=("plain", "secure"))
        custody = LedgerContext(tmp_path / "books", policy, digest, label)
        identity = world.keys[name].private_bytes()
        return MemberLedger(name, identity, world.agreed, custody, Path("runs") / str(run))

    return make


@pytest.fixture
def released(member):
    """A member that took part and released rounds."""

    def make(name="north", rounds=1, step=STEP, **options):
        ledger = member(name, **options)
        ledger.begin(100)
        for number in range(1, rounds + 1):
            ledger.enter(number, NAMES, MODEL)
            ledger.charge(step, clip_norm=1.0, rng="AES-256-CTR, system key")
            ledger.trained()
        return ledger

    return make


@pytest.fixture
def log(tmp_path, consortium):
    return lambda run=1, name="log": open_log(
        tmp_path / f"{name}.sqlite", consortium(bytes([run]) * 32).agreed
    )
