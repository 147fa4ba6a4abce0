"""Specification of the task `transfer`; no torch here."""

from __future__ import annotations

from typing import Final

from securefl.config.load import packaged
from securefl.config.task_spec import ModelSpec, TaskSpec
from securefl.tasks.common.disclosures import WHAT_SELLS
from securefl.tasks.common.privacy_units import A_CUSTOMER
from securefl.tasks.content.spec import on_every_source
from securefl.tasks.transfer.settings import TransferSettings, TransferSplitSettings

TRANSFER: Final = TaskSpec(
    name="transfer",
    description="which products of a new department a customer buys next",
    models=(
        ModelSpec(
            TransferSettings,
            "securefl.tasks.transfer.personalized:PersonalizedTransferTask",
            served="securefl.tasks.recommendation.serving:ServedRanking",
            units={"customer": A_CUSTOMER},
        ),
    ),
    split_settings=TransferSplitSettings,
    defaults={source: packaged(__package__, source) for source in ("complete-journey", "tutorial")},
    changes=on_every_source(packaged(__package__, "complete-journey-private")),
    facts=("securefl.tasks.transfer.task:TransferFacts",),
    disclosure=WHAT_SELLS,
)
