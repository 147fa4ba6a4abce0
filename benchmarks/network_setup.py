"""What parties of `network.py` make before a run: keys, certificates, agreement, facts.

In a file of its own, because the members' processes must not import what they do not need.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from securefl.config.load import load_config
from securefl.consortium.agreement.drafting import draft
from securefl.consortium.agreement.storage import write_card
from securefl.consortium.agreement.workflow import sign_agreement
from securefl.consortium.keys.key_files import generate_key, read_key, write_clear_key
from securefl.consortium.keys.parties import key_bundle_of
from securefl.consortium.keys.tls_certificates import create_authority, issue_broker
from securefl.federation.services.public_facts import make_facts
from support.brokers import free_port

SECRET = b"a passphrase for nobody"


def found(folder: Path, members: int, bits: int | str) -> list[str]:
    """Keys, certificates, agreement and facts, as parties of their own would make them."""
    names = [f"member-{number}" for number in range(members)]
    now, port = datetime.now(UTC), free_port()
    for name in (*names, "hub"):
        key = generate_key()
        write_clear_key(folder / f"{name}.key", key)
        write_card(folder / f"{name}.card", key_bundle_of(name, key))
    create_authority(folder, "benchmark", SECRET, now)
    issue_broker(folder, ("127.0.0.1",), SECRET, now, 1)
    secure = {"bits": bits, "limit": 8.0, "max_samples": 1, "min_samples": 1}
    source = {"source": "tutorial", "retailers": 3, "customers": 20, "interactions": [60, 90]}
    config = load_config(
        None, {"rounds": 64, "data": source, "secure": secure, "model": {"name": "rating-ncf"}}
    )
    draft(
        folder / "agreement.toml",
        "benchmark",
        [folder / f"{name}.card" for name in names],
        config,
        created=now,
        expires=now + timedelta(days=1),
        coordinator=folder / "hub.card",
        meeting=(f"tls://127.0.0.1:{port}", folder / "ca.pem"),
    )
    for name in names:
        sign_agreement(folder / "agreement.toml", read_key(folder / f"{name}.key"))
    make_facts(config, folder / "facts")
    return names
