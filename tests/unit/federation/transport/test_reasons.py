"""Why there is no sum: a reason that holds for many is said once, with their names."""

from securefl.federation.transport.exchange import with_reasons


def test_a_reason_is_said_once():
    failures = {"north": "no noise", "south": "a bad line", "west": "no noise"}
    said = with_reasons("0 members are left", {"east": "no noise"}, failures)
    assert said == (
        "0 members are left; east refused: no noise; north, west failed: no noise;"
        " south failed: a bad line"
    )
    assert with_reasons("0 members are left", {}, {}) == "0 members are left"
