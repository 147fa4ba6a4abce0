"""What Prometheus is told while a run lasts."""

import time
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest

from securefl.federation.runs.prepare import prepare
from securefl.federation.services.status import read_status
from support.brokers import free_port
from support.consortium_processes import (
    found,
    life_of_commanded_coordinator,
    life_of_member,
    open_broker,
)
from support.nats_cluster import PROCESSES, start_processes
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
    village, port, seen = found(tmp_path / "village", config, NAMES), free_port(), []
    start_processes()
    with ExitStack() as stack:
        stack.enter_context(open_broker(village))
        members = [(life_of_member, (village, name)) for name in NAMES]
        hub = (life_of_commanded_coordinator, (village, "--metrics-port", port))
        for life, details in (*members, hub):
            process = PROCESSES.Process(target=life, args=details, daemon=True)
            process.start()
            stack.callback(process.kill)
        until = time.monotonic() + 120
        while process.exitcode is None and time.monotonic() < until:
            seen.append(scraped(port))
            time.sleep(0.05)
        assert process.exitcode == 0, (village.folder / "hub.log").read_text()[-3000:]
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
