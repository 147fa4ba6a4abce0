"""The loop while one writes: tests that were quick when they ran last, and all that never ran.

Seconds are kept in pytest's cache, on the machine that measured them.
"""

from collections import Counter

import pytest

_KEPT = "securefl/seconds"


def pytest_addoption(parser):
    parser.addoption("--under", type=float, help="leave out tests that took more seconds last time")


def pytest_collection_modifyitems(config, items):
    most = config.getoption("under")
    if most is None:
        return
    kept = config.cache.get(_KEPT, {})
    slow = [item for item in items if kept.get(item.nodeid, 0) > most]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if kept.get(item.nodeid, 0) <= most]


class Seconds:
    """Adds up what each test took, with its fixtures; one object for all workers."""

    def __init__(self, cache):
        self.cache, self.found = cache, Counter()

    def pytest_runtest_logreport(self, report):
        self.found[report.nodeid] += report.duration

    def pytest_sessionfinish(self):
        found = {test: round(seconds, 3) for test, seconds in self.found.items()}
        self.cache.set(_KEPT, self.cache.get(_KEPT, {}) | found)


@pytest.hookimpl(trylast=True)  # the cache is made when others are configured
def pytest_configure(config):
    if not hasattr(config, "workerinput") and config.pluginmanager.hasplugin("cacheprovider"):
        config.pluginmanager.register(Seconds(config.cache))
