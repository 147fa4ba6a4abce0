"""How single units are hidden: one file a mechanism, and the registry that is asked for them."""

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
