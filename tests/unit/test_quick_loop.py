"""What `make test-unit` leaves out."""

pytest_plugins = ["pytester"]

TESTS = """
import time

def test_quick():
    pass

def test_long():
    time.sleep(0.1)
"""


def test_what_took_long_last_time_is_left_out_and_said(pytester):
    pytester.makepyfile(TESTS)
    plugin = "-psupport.quick_tests"
    pytester.runpytest_inprocess(plugin, "--under=0.05").assert_outcomes(passed=2)
    pytester.runpytest_inprocess(plugin, "--under=0.05").assert_outcomes(passed=1, deselected=1)
    pytester.runpytest_inprocess(plugin).assert_outcomes(passed=2)
