"""Where a broker for a test listens, and what it is configured with."""

import socket
from pathlib import Path

from securefl.federation.transport.nats.subjects import MAX_PAYLOAD


def free_port() -> int:
    """Return a port of the loopback interface on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def plain_configuration(directory: Path, port: int) -> str:
    """Return the configuration of a broker on the loopback interface, without TLS and accounts."""
    return (
        f'listen: "127.0.0.1:{port}"\n'
        f"max_payload: {MAX_PAYLOAD}\n"
        f"max_pending: {64 << 20}\n"
        f'jetstream {{ store_dir: "{directory}" }}\n'
    )
