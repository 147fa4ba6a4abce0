"""What is installed is pinned, with digest and licence; its lower bounds are the true ones."""

import importlib.util
import json
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT"),
    *("MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib"),
    "Apache-2.0 WITH LLVM-exception",
}
"""Licences that a retailer can live with: none of the GPL, and none that is unknown."""


def _tool():
    spec = importlib.util.spec_from_file_location("lock_tool", ROOT / "packaging" / "lock.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LOCK = _tool()
TEXTS = {path.stem: path.read_text("utf-8") for path in (ROOT / "locks").glob("*.txt")}
PINS = {
    canonicalize_name(name): version
    for name, version in (
        line.split("==") for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    )
}


def installed_requirements():
    return [Requirement(text) for text in PROJECT["dependencies"]] + [
        Requirement(text) for extra in LOCK.INSTALLED for text in EXTRAS[extra]
    ]


@pytest.mark.parametrize("name", ["cpu", "registry", "docs", "flower"])
def test_every_locked_package_has_a_digest(name):
    """And nothing else is in the file: no address, no option."""
    digests, found = LOCK.hashes(TEXTS[name]), LOCK.names(TEXTS[name])
    assert found.keys() == digests.keys()
    assert all(digests.values())
    assert "://" not in TEXTS[name]
    pinned = re.compile(r"[\w.-]+(\[[\w, ]+\])?==\S+( ; .+)? \\|    --hash=sha256:\w{64}( \\)?")
    assert all(pinned.fullmatch(line) for line in TEXTS[name].splitlines())


def test_lock_keeps_a_package_with_several_extras():
    """The tool that resolves puts spaces between them; pip also asks for the package without."""
    line = "cuda-toolkit[cublas, cudart]==13.0.3.0 ; sys_platform == 'linux' \\\n"
    lock = LOCK._merged(f"{line}    --hash=sha256:{'1' * 64}\n")
    assert LOCK.names(lock) == {"cuda-toolkit": "13.0.3.0"}
    assert [text.partition("==")[0] for text in lock.splitlines()[::2]] == [
        "cuda-toolkit",
        "cuda-toolkit[cublas, cudart]",
    ]
    assert LOCK.cpu(lock) == ""


@pytest.mark.parametrize("name", ["cpu", "registry", "docs"])
def test_locks_have_the_pinned_versions(name):
    """`constraints.txt` decides; what it does not name is not on this platform."""
    found = {canonicalize_name(n): version for n, version in LOCK.names(TEXTS[name]).items()}
    assert {n: v for n, v in found.items() if n in PINS} == {n: PINS[n] for n in found if n in PINS}


def test_flower_lock_has_other_versions_only_where_flower_asks():
    """Its environment is the tested one but for what `packaging/lock.py` names."""
    found = {canonicalize_name(n): version for n, version in LOCK.names(TEXTS["flower"]).items()}
    assert found["flwr"] == "1.42.0"
    # Of torch the lock has the CPU's wheel, under the same version.
    others = {n for n in found if n in PINS and found[n].partition("+")[0] != PINS[n]}
    assert others <= set(LOCK.OLDER_FOR_FLOWER)


def test_locks_cover_what_make_installs():
    """The extras of `make install` are the tool's, and each of their packages is locked."""
    locked = {canonicalize_name(name) for name in LOCK.names(TEXTS["cpu"])}
    assert {canonicalize_name(need.name) for need in installed_requirements()} <= locked
    assert {"hatchling", "editables"} <= locked


def test_cpu_lock_is_the_other_without_cuda():
    assert LOCK.cpu(TEXTS["registry"]) == TEXTS["cpu"]
    assert not re.search(r"^(nvidia|cuda|triton)", TEXTS["cpu"], re.M)


def test_lower_bounds_are_those_of_the_lowest_versions():
    """`make test-lowest` installs exactly what the bounds allow, and nothing that is newer."""
    lowest = {canonicalize_name(n): v for n, v in LOCK.names(TEXTS["lowest"]).items()}
    for need in installed_requirements():
        bounds = [s.version for s in need.specifier if s.operator in {">=", "=="}]
        assert Version(lowest[canonicalize_name(need.name)]) == Version(*bounds), need


def test_verifier_has_the_same_lower_bounds():
    """The two distributions of the tree agree on what they were tried with."""
    other = tomllib.loads((ROOT / "packaging" / "verifier" / "pyproject.toml").read_text("utf-8"))
    assert set(other["project"]["dependencies"]) <= set(PROJECT["dependencies"])


def components():
    return json.loads((ROOT / "locks" / "sbom.cdx.json").read_text("utf-8"))["components"]


def test_sbom_lists_what_the_lock_installs():
    """All but what is for another platform."""
    locked, listed = LOCK.names(TEXTS["cpu"]), {one["name"]: one["version"] for one in components()}
    assert listed.items() <= locked.items()
    elsewhere = {found[0] for found in re.findall(r"^(\S+?)==(\S+) ; ", TEXTS["cpu"], re.M)}
    assert locked.keys() - listed.keys() <= {*elsewhere, *LOCK.BUILD.split()}


@pytest.mark.parametrize("part", components(), ids=lambda part: part["name"])
def test_licence_is_allowed(part):
    """Each alternative or part of an expression is one of the list."""
    (entry,) = part["licenses"]
    for name in re.split(r" (?:AND|OR) ", entry["license"]["name"]):
        assert name.strip("()") in ALLOWED
