"""What Prometheus is told while a run lasts."""

import urllib.error
import urllib.request

import pytest

from securefl.federation.runs.prepare import prepare
from securefl.federation.services.status import read_status
from support.brokers import free_port
from support.consortium_processes import (
    found,
    watched_run,
)
from support.small_runs import NETWORK_MEMBERS as NAMES
from support.small_runs import network_config as small


def scraped(port):
    """Value by name and member; None where nothing is served yet."""
    from prometheus_client.parser import text_string_to_metric_families as families

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            text = page.read().decode()
    except (urllib.error.URLError, OSError):
        return None
    samples = [sample for family in families(text) for sample in family.samples]
    return {(sample.name, sample.labels.get("member", "")): sample.value for sample in samples}


@pytest.mark.slow
def test_metrics_tell_rounds_bytes_and_silence_of_a_run(tmp_path):
    pytest.importorskip("prometheus_client")
    config = small(rounds=3)
    village, port = found(tmp_path / "village", config, NAMES), free_port()
    seen = watched_run(village, ("--metrics-port", port), lambda: scraped(port), 0.05)
    seen = [one for one in seen if one is not None]
    rounds = [one["securefl_round", ""] for one in seen]
    assert rounds == sorted(rounds)
    assert {1.0, 2.0, 3.0} <= set(rounds) <= {0.0, 1.0, 2.0, 3.0}
    assert all(one["securefl_rounds", ""] == 3.0 for one in seen)
    vector = 8 * len(prepare(config).shared)
    ends = {member["name"]: member for member in read_status(village.folder / "run")["members"]}
    for name in NAMES:
        up = [one["securefl_bytes_up", name] for one in seen]
        assert up == sorted(up)
        assert 2 * vector < up[-1] <= ends[name]["bytes_up"]
        assert 2 * vector < seen[-1]["securefl_bytes_down", name] <= ends[name]["bytes_down"]
        assert 0 <= seen[-1]["securefl_silence_seconds", name] < 60
