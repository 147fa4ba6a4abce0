"""The mechanisms that there are, and which one a run's settings ask for."""

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
    """Make a mechanism one that a configuration can ask for; the last registered is asked first.

    Also usable as a decorator. Processes that host members have to register it as well.

    Raises:
        ValueError: If what it charges has a name in ledgers that another event has.
    """
    if kind not in _MECHANISMS:
        register_events(kind.events)
        register_protection(kind.dp)
        _MECHANISMS.insert(0, kind)
    return kind


for _kind in (NoDP, LocalDP, DistributedDP, ClientLevelDP):
    register(_kind)


def mechanism_kind(dp: str, unit: str | None) -> type[PrivacyMechanism]:
    """The mechanism of a value of `privacy.dp` and of `privacy.unit`, also of a record's.

    Raises:
        ConfigError: If there is none.
    """
    for kind in _MECHANISMS:
        if kind.selected_by(dp, unit):
            return kind
    raise ConfigError(f"privacy.dp: no mechanism is registered for '{dp}'")


@lru_cache(maxsize=64)
def mechanism_for(settings: PrivacySettings) -> PrivacyMechanism:
    """The mechanism of a run, made once of its settings.

    Raises:
        ConfigError: If none is registered for them.
    """
    return mechanism_kind(settings.dp, settings.unit)(settings)
