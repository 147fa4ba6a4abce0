"""Time limits: nothing that handles errors swallows one, and one within another leaves it as is."""

import contextlib
import time
from pathlib import Path

import pytest

from securefl.audit.bundle import time_limit
from securefl.audit.bundle.time_limit import TimeLimitError, deadline, time_left
from securefl.errors import SecureflError

LATE = 5.0
"""Far beyond every limit here, and still the end of a test that fails."""


def spin():
    end = time.monotonic() + LATE
    while time.monotonic() < end:
        pass
    raise AssertionError("the limit was ignored")


def test_no_handler_of_errors_swallows_the_end():
    """A check that turns errors into findings goes on with the next file otherwise."""

    def swallow():
        for _ in range(3):
            with contextlib.suppress(SecureflError, OSError, ArithmeticError, Exception):
                spin()

    with pytest.raises(TimeLimitError, match=r"a takes longer than 0\.05"), deadline(0.05, "a"):
        swallow()


def test_end_that_was_dropped_is_raised_again(monkeypatch):
    """As Python does where an object is finalised: what is raised there is printed and dropped."""
    monkeypatch.setattr(time_limit, "_AGAIN", 0.05)

    def drop():
        with contextlib.suppress(BaseException):
            spin()
        spin()

    with pytest.raises(TimeLimitError), deadline(0.05, "a"):
        drop()
    assert time_left() is None


def test_limit_within_a_limit_leaves_the_outer_one():
    """The inner one ends its block alone, and the outer one what comes after."""

    def both():
        with pytest.raises(TimeLimitError, match="inner takes"), deadline(0.02, "inner"):
            spin()
        assert 0 < time_left() < 0.3
        spin()

    with pytest.raises(TimeLimitError, match="outer takes"), deadline(0.3, "outer"):
        both()
    assert time_left() is None


def test_outer_limit_ends_what_has_a_longer_one():
    """By its own name, and through handlers of the inner one's end."""
    with pytest.raises(TimeLimitError, match="outer takes"), deadline(0.05, "outer"):  # noqa: SIM117
        with contextlib.suppress(TimeLimitError), deadline(60, "inner"):
            spin()


def test_no_limit_leaves_no_timer_of_its_own():
    """Nor does a block that ends with another error."""
    with contextlib.suppress(OSError), deadline(1, "a"):
        Path("/nowhere/at/all").stat()
    assert time_left() is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_limit_is_refused(seconds):
    with pytest.raises(TimeLimitError, match="no limit of time"), deadline(seconds, "it"):
        pass
    assert time_left() is None
