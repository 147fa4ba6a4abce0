"""What a member does for itself alone while others wait: its failure is not theirs to see."""

from __future__ import annotations

import logging
from collections.abc import Callable

from securefl.config.schema import RunConfig
from securefl.privacy.mechanisms import mechanism_for

_log = logging.getLogger(__name__)


def keep_to_itself(write: Callable[[], None], config: RunConfig) -> None:
    """Write what only the member reads; under a budget a failure of it changes no answer.

    Whether predictions can be written depends on customers: on whether there are any, and on what
    they bought. An answer that fails for it would be a release that nobody charged.

    Args:
        write: Writes into the member's own folder.
        config: The run's configuration.

    Raises:
        Exception: Without a budget, whatever `write` raises.
    """
    try:
        write()
    except Exception:
        if not mechanism_for(config.privacy).private:
            raise
        _log.exception("what this member serves could not be written; the run goes on")
