"""Why there is no sum: a reason that holds for many is said once, with their names."""

from securefl.federation.transport.exchange import said_once


def test_a_reason_is_said_once():
    failures = {"north": "no noise", "south": "a bad line", "west": "no noise"}
    assert said_once({"east": "no noise"}, failures) == [
        "east refused: no noise",
        "north, west failed: no noise",
        "south failed: a bad line",
    ]
    assert said_once({}, {}) == []
