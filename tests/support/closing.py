"""What tests make and leave open: closed at the end of the test.

A database that the garbage collector has to close fails the test in which it happens to run, and
the error names the test that opened it. Python warns of these from 3.13 on, without that name.
"""

import os
import warnings

from securefl.consortium.ledger import sqlite

_OPEN = []


class WatchedConnection(sqlite.Connection):
    """A connection that says which test forgot it.

    Attributes:
        test: The test that opened it.
        closed: Whether it was closed.
    """

    closed = True

    def __init__(self, *values, **named):
        super().__init__(*values, **named)
        self.closed = False
        self.test = os.environ.get("PYTEST_CURRENT_TEST")

    def close(self):
        super().close()
        self.closed = True

    def __del__(self):
        if not self.closed:
            self.close()
            words = f"{self.test} left a database open"
            warnings.warn(words, ResourceWarning, stacklevel=1, source=self)


def closed_later(made):
    """Return what was made; it is closed when the test has ended, once more if it was already."""
    _OPEN.append(made)
    return made


def close_all():
    while _OPEN:
        _OPEN.pop().close()
