"""Writes that a member insists on: what is not on its disk is not answered."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from itertools import chain, repeat
from typing import TypeVar

from securefl.consortium.ledger.sqlite import DatabaseError
from securefl.errors import RunDirectoryError, out_of_space
from securefl.federation.transport.liveness import DISK_FAILS, DISK_FULL

ResultT = TypeVar("ResultT")
_log = logging.getLogger(__name__)
_PAUSES = (0.5, 1.0, 2.0, 5.0)
_PATIENCE = 2


def insist(write: Callable[[], ResultT], failed: Callable[[str], None]) -> ResultT:
    """Return what a write returns, after as many tries as it takes.

    Args:
        write: Writes to the journal or the ledger.
        failed: Is given what the member does from then on, after each try that fails; not after
            the first two, since what passes within a second or two need cost no round.
    """
    for tries, pause in enumerate(chain(_PAUSES, repeat(_PAUSES[-1]))):
        try:
            return write()
        except (RunDirectoryError, DatabaseError, sqlite3.Error) as error:
            if tries >= _PATIENCE:
                failed(DISK_FULL if out_of_space(error) else DISK_FAILS)
            _log.error("the journal cannot be written (%s); waiting", type(error).__name__)
            time.sleep(pause)
    raise AssertionError("unreachable")
