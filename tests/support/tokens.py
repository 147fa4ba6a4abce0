"""A token in software (SoftHSM), where the distribution has it; tests are skipped where not."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PIN = b"four words are better"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm.so",
)


@dataclass(frozen=True)
class Token:
    """The name of a new token."""

    module: str
    name: str

    def uri(self, label="identity"):
        return f"pkcs11:token={self.name};object={label}?module-path={self.module}"


def softhsm_module():
    """The library; the test is skipped where a part is missing."""
    pytest.importorskip("pkcs11", reason="the extra pkcs11 is not installed")
    found = next((path for path in MODULES if Path(path).exists()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed (apt-get install softhsm2)")
    return found


def new_token(folder, name, monkeypatch):
    """A token of that name in a folder."""
    module = softhsm_module()
    (folder / "tokens").mkdir(parents=True, exist_ok=True)
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(conf))
    command = ["softhsm2-util", "--init-token", "--free", "--label", name]
    command += ["--pin", PIN.decode(), "--so-pin", "another PIN"]
    subprocess.run(command, check=True, capture_output=True)
    return Token(module, name)
