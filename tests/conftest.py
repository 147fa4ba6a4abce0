"""For all tests: examples are not timed, because machines are shared."""

from hypothesis import settings

settings.register_profile("securefl", deadline=None)
settings.load_profile("securefl")
