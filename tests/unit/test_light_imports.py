"""What a process imports before it needs it: seconds of CPU, of six processes on one machine."""

import subprocess
import sys

import pytest

CONNECTS = """
import sys
import securefl.federation.services.member, securefl_cli.commands.member
heavy = {"torch", "pandas", "scipy", "pyarrow", "duckdb", "opacus"} & set(sys.modules)
assert not heavy, heavy
"""
TRAINS = """
import sys, torch
from securefl.config.schema import TrainingSettings
from securefl.ml.sgd import make_optimizer
for kind in ("adam", "sgd"):
    model = torch.nn.Linear(3, 1)
    optimizer = make_optimizer(model, TrainingSettings(optimizer=kind))
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
assert model.weight.abs().sum() > 0
assert "torch._dynamo" not in sys.modules
"""
TASKS = """
import importlib, pkgutil, sys
import securefl.federation.runs.run, securefl.tasks
for module in pkgutil.walk_packages(securefl.tasks.__path__, "securefl.tasks."):
    importlib.import_module(module.name)
assert "scipy.stats" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "code"), [("connects", CONNECTS), ("trains", TRAINS), ("tasks", TASKS)]
)
def test_a_member_imports_only_what_it_needs(said, code):
    """It connects without what trains and reads tables, and trains without torch's compiler.

    No task waits two seconds for SciPy's statistical tests.
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (said, done.stderr)
