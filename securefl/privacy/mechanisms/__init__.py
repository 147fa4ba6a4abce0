"""Privacy mechanisms, one file each, and their registry."""

from securefl.privacy.mechanisms.base import PrivacyMechanism, Releases, SumFormat
from securefl.privacy.mechanisms.client_level import ClientLevelDP
from securefl.privacy.mechanisms.distributed import DistributedDP
from securefl.privacy.mechanisms.local import LocalDP
from securefl.privacy.mechanisms.none import NoDP
from securefl.privacy.mechanisms.registry import mechanism_for, mechanism_kind, register

__all__ = [
    "ClientLevelDP",
    "DistributedDP",
    "LocalDP",
    "NoDP",
    "PrivacyMechanism",
    "Releases",
    "SumFormat",
    "mechanism_for",
    "mechanism_kind",
    "register",
]
