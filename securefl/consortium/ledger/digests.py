"""Digests and commitments in ledger entries, 32 bytes in hex each."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from securefl._version import __version__
from securefl.consortium.agreement.model import Agreement, to_tree
from securefl.consortium.encoding.jcs import canonical_bytes
from securefl_protocols.wire.context import labelled_digest

CONFIG_LABEL = b"securefl/1/config"
CODE_LABEL = b"securefl/1/code"
UNITS_LABEL = b"securefl/1/units"
_PACKAGES = ("securefl", "securefl_protocols")


def config_digest(agreement: Agreement) -> str:
    """Return the digest of the configuration in an agreement."""
    content = canonical_bytes(to_tree(agreement)["config"])
    return labelled_digest(CONFIG_LABEL, content).hex()


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Return the digest of the installed sources: version, relative paths and contents."""
    fields = [__version__.encode()]
    for package in _PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*.py")):
            name = f"{package}/{path.relative_to(root).as_posix()}"
            fields += [name.encode(), hashlib.sha256(path.read_bytes()).digest()]
    return labelled_digest(CODE_LABEL, *fields).hex()


def units_commitment(units: int, salt: bytes) -> str:
    """Return a hiding commitment to a number of privacy units; opened by showing both arguments.

    Args:
        units: Number of privacy units in the member's data.
        salt: 32 secret random bytes; without them, all plausible numbers could be tried.
    """
    return labelled_digest(UNITS_LABEL, units.to_bytes(8, "big"), salt).hex()
