"""The registered mechanisms, and the selection of one by a run's settings."""

from __future__ import annotations

from functools import lru_cache

from securefl.config.privacy import PrivacySettings, register_protection
from securefl.errors import ConfigError
from securefl.privacy.accounting.events import register_events
from securefl.privacy.mechanisms.base import PrivacyMechanism
from securefl.privacy.mechanisms.client_level import ClientLevelDP
from securefl.privacy.mechanisms.distributed import DistributedDP
from securefl.privacy.mechanisms.local import LocalDP
from securefl.privacy.mechanisms.none import NoDP

_MECHANISMS: list[type[PrivacyMechanism]] = []


def register(kind: type[PrivacyMechanism]) -> type[PrivacyMechanism]:
    """Register a mechanism, so that a configuration can select it.

    Also usable as a decorator. Processes that host members have to register it as well.

    Raises:
        ValueError: If one of its events has the ledger name of another event.
    """
    # The last registered comes first: client-level DP narrows what distributed DP would select.
    if kind not in _MECHANISMS:
        register_events(kind.events)
        register_protection(kind.dp)
        _MECHANISMS.insert(0, kind)
    return kind


for _kind in (NoDP, LocalDP, DistributedDP, ClientLevelDP):
    register(_kind)


def mechanism_kind(dp: str, unit: str | None) -> type[PrivacyMechanism]:
    """Return the mechanism class for values of `privacy.dp` and `privacy.unit`.

    The values may also come from a ledger record, where the unit can be missing.

    Raises:
        ConfigError: If there is none.
    """
    for kind in _MECHANISMS:
        if kind.selected_by(dp, unit):
            return kind
    raise ConfigError(f"privacy.dp: no mechanism is registered for '{dp}'")


@lru_cache(maxsize=64)
def mechanism_for(settings: PrivacySettings) -> PrivacyMechanism:
    """Return the mechanism of a run, made once from its settings.

    Raises:
        ConfigError: If none is registered for them.
    """
    return mechanism_kind(settings.dp, settings.unit)(settings)
