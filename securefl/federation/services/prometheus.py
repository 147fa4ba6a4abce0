"""The coordinator's status for Prometheus: an HTTP endpoint on this machine alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from securefl.errors import InputError, needs_extra

Tree = dict[str, Any]


def serve_metrics(port: int, status: Callable[[], Tree]) -> None:
    """Serve `http://127.0.0.1:port/metrics` as long as this process runs.

    Raises:
        InputError: If the package for it is not installed, or the port is taken.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError:
        raise needs_extra("prometheus_client", "--metrics-port") from None
    registry = CollectorRegistry()
    registry.register(_Collector(status))
    try:
        start_http_server(port, "127.0.0.1", registry)
    except OSError as error:
        raise InputError(f"metrics cannot be served on port {port}: {error.strerror}") from None


class _Collector:
    """A collector that reads the status at every scrape."""

    def __init__(self, status: Callable[[], Tree]) -> None:
        self._status = status

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily as Gauge

        tree = self._status()
        for name, text in (("round", "The round under way."), ("rounds", "Rounds agreed.")):
            yield Gauge(f"securefl_{name}", text, value=tree[name])
        if tree["epsilon"] is not None:
            yield Gauge("securefl_epsilon", "Largest spent by a member.", value=tree["epsilon"])
        up = Gauge("securefl_bytes_up", "Bytes received from a member.", labels=["member"])
        down = Gauge("securefl_bytes_down", "Bytes sent to a member.", labels=["member"])
        age = Gauge("securefl_silence_seconds", "Since a member was heard of.", labels=["member"])
        for member in tree["members"]:
            up.add_metric([member["name"]], member["bytes_up"])
            down.add_metric([member["name"]], member["bytes_down"])
            if member["heard"] is not None:
                age.add_metric([member["name"]], time.time() - member["heard"])
        yield from (up, down, age)
