"""Dossiers of runs that were written event by event."""

from pathlib import Path

import pytest

from securefl.audit.dossier.deployment import entry
from securefl.audit.dossier.evidence import Evidence
from securefl.audit.dossier.page import Dossier
from securefl.audit.report.proof import proof_of
from support.bundle_scenario import NOW, honest


@pytest.fixture(scope="session")
def evidence_of():
    """Evidence of a bundle, as of the scenario's time."""

    def make(bundle, attack=None):
        return Evidence(Path("runs/a"), bundle, proof_of(bundle, "bundle", None, now=NOW), attack)

    return make


@pytest.fixture(scope="session")
def evidence(evidence_of):
    """An honest private run without masks."""
    return evidence_of(honest(rounds=2, masked=False).seal())


@pytest.fixture(scope="session")
def dossier_from():
    """The dossier of some evidence."""
    return lambda evidence: Dossier(evidence, entry(evidence), Path("dossier"))


@pytest.fixture(scope="session")
def under():
    """A bundle under another configuration, whose signatures do not fit any more."""

    def change(bundle, **fields):
        agreement = bundle.agreement.agreement
        config = agreement.config.model_copy(update=fields)
        agreed = agreement.model_copy(update={"config": config})
        signed = bundle.agreement.model_copy(update={"agreement": agreed})
        return bundle.model_copy(update={"agreement": signed})

    return change
