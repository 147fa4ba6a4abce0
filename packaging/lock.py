"""Write what is generated from `pyproject.toml` and `constraints.txt`: hashes, bounds, SBOM.

    python packaging/lock.py        # needs uv and a package index; writes locks/ and the SBOM
    python packaging/lock.py sbom   # needs the packages installed; writes the SBOM alone

`locks/registry.txt` has what any platform installs from a package index, `locks/cpu.txt` the same
for Linux with torch's CPU wheel in the place of CUDA, `locks/docs.txt` what builds the site. The
names and versions are those of `constraints.txt`; no file names an index. `locks/flower.txt` is an
environment with Flower, which takes older versions of some. `locks/lowest.txt` has
the lowest versions that `pyproject.toml` allows; `make test-lowest` installs them.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "locks"
INSTALLED = (
    *("demo", "network", "broker", "metrics", "excel", "postgres", "signing", "export", "serve"),
    *("mlflow", "pkcs11", "proofs", "dev"),
)
"""The extras of `make install`."""
OLDER_FOR_FLOWER = (*("fastapi", "packaging", "protobuf", "rich", "starlette", "uvicorn"),)
"""What Flower takes in older versions than `constraints.txt` has."""
WITH_FLOWER = ("flower", "demo", "dev")
BUILD = "hatchling\neditables\n"
CPU_WHEELS = {
    "torch": ("6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",),
}
"""Package to SHA-256 of its CPU wheel for Linux on x86-64, Python 3.11: no registry has it."""
_CUDA = re.compile(r"(?:nvidia|cuda)-|triton\b")
_BLOCK = re.compile(r"^([^\s\[]+)(?:\[[^\]]+\])?==(\S+)(.*(?:\n    --hash=\S+.*)*)\n", re.MULTILINE)
"""Extras may have spaces between them: `cuda-toolkit[cublas, cudart]==13.0.3.0 ; ...`."""
_READ = {"sigstore-models": "MIT"}
"""Licences that no metadata name, and that stand in the package's own file."""
_SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache License v2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "Dual License": "Apache-2.0 OR BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
"""What packages say of themselves to the name that SPDX has for it."""


def compiled(source: str, *options: str) -> str:
    """Return uv's resolution of requirements, of an extra or of all."""
    command = ["uv", "pip", "compile", source, "--no-annotate", "--no-header"]
    command += ["--no-strip-extras", *options]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, input=BUILD
    ).stdout


def write_locks() -> None:
    """Resolve anew and write all of `locks/`."""
    LOCKS.mkdir(exist_ok=True)
    pinned = ("-c", "constraints.txt", "--universal", "--generate-hashes")
    extras = [word for name in INSTALLED for word in ("--extra", name)]
    version = ("--python-version", "3.11")
    registry = _merged(
        compiled("pyproject.toml", *extras, *pinned, *version), compiled("-", *pinned, *version)
    )
    docs = compiled("pyproject.toml", "--extra", "docs", *pinned, *version)
    write("registry", registry)
    write("cpu", cpu(registry))
    write("docs", _only(docs, set(names(docs)) - everywhere(registry)))
    write("flower", flower(version))
    lowest = compiled("pyproject.toml", *extras, "--resolution", "lowest-direct", *version)
    write("lowest", lowest)


def flower(version: tuple[str, ...]) -> str:
    """Return the lock of an environment with Flower, on Linux with torch's CPU wheel."""
    kept = [
        line
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if line.partition("==")[0].lower() not in OLDER_FOR_FLOWER
    ]
    extras = [word for name in WITH_FLOWER for word in ("--extra", name)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(kept))
        file.flush()
        pinned = ("-c", file.name, "--universal", "--generate-hashes")
        lock = compiled("pyproject.toml", *extras, *pinned, *version)
        return cpu(_merged(compiled("-", *pinned, *version), lock))


def write(name: str, text: str) -> None:
    """Write a lock."""
    (LOCKS / f"{name}.txt").write_text(text, encoding="utf-8")


def names(lock: str) -> dict[str, str]:
    """Return the versions in a lock, by normalised name."""
    return {name.lower(): version for name, version, _ in _BLOCK.findall(f"{lock}\n")}


def everywhere(lock: str) -> set[str]:
    """Return what a lock has on every platform, as normalised names."""
    blocks = _BLOCK.findall(f"{lock}\n")
    return {name.lower() for name, _, rest in blocks if not rest.lstrip().startswith(";")}


def hashes(lock: str) -> dict[str, list[str]]:
    """Return the SHA-256 digests in a lock, by normalised name."""
    return {
        name.lower(): re.findall(r"--hash=sha256:(\w{64})", rest)
        for name, _, rest in _BLOCK.findall(lock)
    }


def cpu(registry: str) -> str:
    """Return a lock without CUDA: torch is the CPU wheel, by its digest."""

    def block(found: re.Match[str]) -> str:
        if _CUDA.match(found[1]):
            return ""
        if found[1] in CPU_WHEELS:
            lines = (f" \\\n    --hash=sha256:{digest}" for digest in CPU_WHEELS[found[1]])
            return f"{found[1]}=={found[2]}{''.join(lines)}\n"
        return found[0]

    return _BLOCK.sub(block, registry)


def _merged(*locks: str) -> str:
    """Return the packages of several locks; one with an extra also stands there without it.

    pip asks for the digests of `pydantic` and of `pydantic[email]` under each name.
    """
    blocks = {
        found[0].partition("==")[0]: found[0] for lock in locks for found in _BLOCK.finditer(lock)
    }
    for name in [name for name in blocks if "[" in name]:
        plain = name.partition("[")[0]
        blocks[plain] = blocks[name].replace(name, plain, 1)
    return "".join(blocks[name] for name in sorted(blocks))


def _only(lock: str, kept: set[str]) -> str:
    return "".join(found[0] for found in _BLOCK.finditer(lock) if found[1].lower() in kept)


def licence(name: str) -> str:
    """Return the licence of an installed package, in the words of SPDX."""
    if name in _READ:
        return _READ[name]
    said = importlib.metadata.metadata(name)
    classified = [
        entry.rpartition(" :: ")[2]
        for entry in said.get_all("Classifier", [])
        if entry.startswith("License :: ") and not entry.endswith("OSI Approved")
    ]
    text = said.get("License-Expression") or ""
    if not text and classified:
        text = " OR ".join(sorted(_SPDX.get(entry, entry) for entry in set(classified)))
    short = (said.get("License") or "").strip().partition("\n")[0]
    return text or _SPDX.get(short, short) or "not said"


def sbom(lock: str) -> dict[str, object]:
    """Return a CycloneDX 1.6 document of all that a lock installs, with licences.

    The digests are in the lock: there is one for each platform, and which one is installed is not
    known here.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": "securefl",
                "licenses": [{"expression": project["license"]}],
            }
        },
        "components": [
            {
                "type": "library",
                "name": name,
                "version": version,
                "purl": f"pkg:pypi/{name}@{version}",
                "licenses": [{"license": {"name": licence(name)}}],
            }
            for name, version in sorted(names(lock).items())
            if installed(name)
        ],
    }


def installed(name: str) -> bool:
    """Return whether a package is here; one for another platform is not, and is left out."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def write_sbom() -> None:
    """Write the SBOM and the list of licences of what `make install` installs."""
    document = sbom((LOCKS / "cpu.txt").read_text("utf-8"))
    text = json.dumps(document, indent=1) + "\n"
    (LOCKS / "sbom.cdx.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["sbom"]:
        write_locks()
    write_sbom()
