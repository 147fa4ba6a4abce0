"""What tests make and leave open: closed at the end of the test.

From Python 3.13 on, a database that the garbage collector closes is a warning, in whichever test it
happens to run.
"""

_OPEN = []


def closed_later(made):
    """Return what was made; it is closed when the test has ended, once more if it was already."""
    _OPEN.append(made)
    return made


def close_all():
    while _OPEN:
        _OPEN.pop().close()
