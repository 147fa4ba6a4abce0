"""What a SuperNode runs: the app that is there, and no other where it may install none."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support.paths import ROOT

pytest.importorskip("flwr", reason="the extra 'flower' has an environment of its own")
# Flower's own: a name of pathspec that is deprecated.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:GitWildMatch")]
NOBODY = 65534
INSTALL = """
import os, sys
from pathlib import Path
from flwr.cli.install import install_from_fab
b"a".decode("cp437")  # of zip files, while the interpreter's own folder can be read
if int(sys.argv[1]):
    os.setgid(int(sys.argv[1]))
    os.setuid(int(sys.argv[1]))
for path in sys.argv[2:]:
    print(install_from_fab(Path(path).read_bytes(), skip_prompt=True))
"""


@pytest.fixture
def place():
    """A folder that another user may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for apps in folder.glob("flwr/apps"):
        apps.chmod(0o755)
    shutil.rmtree(folder)


def bundle(app, path):
    from flwr.cli.build import build_fab_from_disk

    path.write_bytes(build_fab_from_disk(app))
    return path


def installed(home, paths, user=0):
    environment = os.environ | {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0"}
    command = [sys.executable, "-c", INSTALL, str(user), *map(str, paths)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_other_app_is_not_installed_where_the_folder_is_closed(place):
    """Step 2 of docs/howto/flower.md: the app of a securefl run is found, one with code is not."""
    shipped = ROOT / "examples" / "flower-app"
    other = shutil.copytree(shipped, place / "other")
    (other / "more.py").write_text("raise SystemExit\n")
    ours, theirs = bundle(shipped, place / "ours"), bundle(other, place / "theirs")
    home = place / "flwr"
    (home / "apps").mkdir(parents=True)
    assert installed(home, [ours]).returncode == 0
    (home / "apps").chmod(0o555)
    user = NOBODY if os.geteuid() == 0 else 0  # rights do not bind root
    again = installed(home, [ours], user)
    assert again.returncode == 0, again.stderr
    refused = installed(home, [theirs], user)
    assert refused.returncode != 0
    assert "PermissionError" in refused.stderr
    assert len(list((home / "apps").iterdir())) == 1
    # And the one that is there has no code.
    (app,) = (home / "apps").iterdir()
    assert [path.name for path in app.rglob("*.py")] == []
