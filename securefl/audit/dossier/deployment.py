"""The entry for the registry of differential privacy deployments.

Fields, enumerations and required ones are those of the registry's own schema
(github.com/opendp/deployments-registry-data, schemas/deployments-schema.yaml, July 2026), after
Nanayakkara, Ghazi and Vadhan, arXiv:2509.13509. Nothing here is more permissive than that schema.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from securefl._version import __version__
from securefl.audit.dossier.data_protection import annex, nist
from securefl.audit.dossier.evidence import Answer, Evidence, figure
from securefl.audit.dossier.parties import SEES
from securefl.privacy.plan import PrivacyPlan

_OPEN: Final = "To be stated by the members."
_AUTHOR: Final = "securefl, as a draft; the members name the author"


class _Part(BaseModel):
    """Base of all parts: no field that the registry does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Basic(_Part):
    """Tier 1: what was published, by whom, for what."""

    name: str
    data_curators: Annotated[tuple[str, ...], Field(min_length=1)]
    intended_use: str
    data_product_type: Literal["Machine learning model"]
    data_product_region: str
    description: str
    publication_date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]


class Variant(_Part):
    """The definition of differential privacy, and what it does not cover."""

    variant_name: Literal["Approximate DP"]
    data_domain: str
    unprotected_quantities: str


class Parameters(_Part):
    """Epsilon and delta of the data product."""

    epsilon: float
    delta: float


class Loss(_Part):
    """The privacy unit and how strongly it is protected."""

    privacy_unit: str
    privacy_unit_details: str
    privacy_parameters: Parameters
    privacy_parameters_details: str


class Model(_Part):
    """Who has to be trusted with what, and how the product is released."""

    model_name: Literal["Federated"]
    model_name_details: str
    actors: str
    release_type: Literal["One release"]
    release_type_details: str
    data_source_type: Literal["Static"]
    access_type: Literal["Non-interactive"]


class Accounting(_Part):
    """How losses are composed."""

    post_processing: str
    composition: str


class Implementation(_Part):
    """How it was made."""

    preprocessing_and_hyperparameter_tuning: str
    mechanisms: str
    justification: str


class Administrative(_Part):
    """Who wrote the entry."""

    sources: str
    notes: str
    registry_authors: Annotated[tuple[str, ...], Field(min_length=1)]


class Deployment(_Part):
    """A deployment at all three tiers."""

    basic: Basic
    dp_variant: Variant
    privacy_loss: Loss
    deployment_model: Model
    accounting: Accounting
    implementation: Implementation
    administrative: Administrative


class Entry(_Part):
    """One record of the registry, as a draft."""

    url_slug: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    status: Literal["Draft"]
    tier: Literal[3]
    deployment: Deployment

    def to_text(self) -> str:
        """Return the record as JSON, which is YAML as well: the registry keeps YAML files."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def entry_schema() -> dict[str, Any]:
    """Return the JSON schema of the entries that are written here."""
    schema = Entry.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def entry(evidence: Evidence) -> Entry | None:
    """Return the record; None without differential privacy, or without a bound to state."""
    loss = evidence.loss
    if loss is None or loss.run is None:
        return None
    said = {one.question: one for one in (*annex(evidence), *nist(evidence))}
    return Entry(
        url_slug=f"securefl-{evidence.config.task}-{evidence.bundle.run[:12]}",
        status="Draft",
        tier=3,
        deployment=Deployment(
            basic=_basic(evidence),
            dp_variant=_variant(evidence),
            privacy_loss=_loss(evidence, loss.run),
            deployment_model=_model(evidence, said),
            accounting=_accounting(evidence),
            implementation=_implementation(evidence, said),
            administrative=_administrative(evidence),
        ),
    )


def _basic(evidence: Evidence) -> Basic:
    ended = evidence.story.ended[:10] or evidence.bundle.created[:10]
    return Basic(
        name=f"{evidence.agreement.name}: {evidence.config.task}",
        data_curators=evidence.agreement.names,
        intended_use=f"To learn {evidence.spec.description}.",
        data_product_type="Machine learning model",
        data_product_region=_OPEN,
        description=(
            f"A model that {len(evidence.agreement.members)} retailers trained together with"
            " federated learning; their data stayed with them."
        ),
        publication_date=date.fromisoformat(ended).isoformat(),
    )


def _variant(evidence: Evidence) -> Variant:
    facts = (
        "The agreed public facts of the task (docs/howto/network.md), the configuration,"
        " who took part"
    )
    return Variant(
        variant_name="Approximate DP",
        data_domain=f"Tables of single retailers; {evidence.mechanism.adjacency}.",
        unprotected_quantities=(
            f"{facts}, and {evidence.unprotected_before:,} earlier releases of the data without"
            " noise."
            if evidence.unprotected_before
            else f"{facts}."
        ),
    )


def _loss(evidence: Evidence, epsilon: float) -> Loss:
    settings, unit = evidence.config.privacy, evidence.mechanism.unit
    loss = evidence.loss
    assert loss is not None
    return Loss(
        privacy_unit=f"One {unit.of_whom}",
        privacy_unit_details=(
            f"{PrivacyPlan.of(evidence.config).protects}; {unit.adjacency}, at one retailer."
        ),
        privacy_parameters=Parameters(epsilon=round(epsilon, 4), delta=settings.delta),
        privacy_parameters_details=(
            f"By this run. Over the life of the data: {figure(loss.life)} for a unit of one"
            f" retailer; for a customer of all of them {figure(loss.everywhere_run)} by this run"
            f" and {figure(loss.everywhere_life)} over the life of the data, at most."
        ),
    )


def _model(evidence: Evidence, said: dict[str, Answer]) -> Model:
    return Model(
        model_name="Federated",
        model_name_details=(
            f"{SEES[evidence.protection]} Protected against {evidence.mechanism.against()}."
        ),
        actors=said["Trust model: who must be trusted?"].answer,
        release_type="One release",
        release_type_details=(
            f"One model. What {evidence.config.rounds:,} rounds of training disclosed is part of"
            f" the stated loss. {said['Is there a limit over the life of the data?'].answer}"
        ),
        data_source_type="Static",
        access_type="Non-interactive",
    )


def _accounting(evidence: Evidence) -> Accounting:
    return Accounting(
        post_processing="Optimizer steps after the noise, and each retailer's use of the model.",
        composition=(
            f"All rounds, released scores and earlier runs on the same data, composed by the"
            f" {evidence.config.privacy.accountant.upper()} accountant and priced again by a second"
            " one."
        ),
    )


def _implementation(evidence: Evidence, said: dict[str, Answer]) -> Implementation:
    return Implementation(
        preprocessing_and_hyperparameter_tuning=(
            "Agreed and signed before training; how the settings were chosen, and on which data,"
            " the members have to state."
        ),
        mechanisms=(
            f"{said['Mechanism'].answer}"
            f" {said['Correctness: randomness and floating point?'].answer} securefl {__version__}."
        ),
        justification=_OPEN,
    )


def _administrative(evidence: Evidence) -> Administrative:
    return Administrative(
        sources=f"Audit bundle of run {evidence.bundle.run}.",
        notes=f"Verdict of the audit: {evidence.proof.audit.verdict}. By securefl {__version__}.",
        registry_authors=(_AUTHOR,),
    )
