"""new-model.md adds a model with one file and one row, and everything that it shows works."""

import filecmp
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import securefl
from support.pages import patched
from support.paths import page

PACKAGE = Path(securefl.__file__).parent
PAGE = page("new-model.md").read_text(encoding="utf-8")
MODEL, SPEC = "tasks/churn/quadratic.py", "tasks/churn/spec.py"
COMMANDS = "from securefl_cli.main import main\nfor line in {}:\n    assert main(line) == 0, line\n"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def contents(folder):
    files = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)) for path in files if path.is_file()}


@pytest.fixture
def extended(tmp_path):
    """A folder with a copy of the package, to which the page's model was added."""
    copy = tmp_path / "site" / "securefl"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / MODEL).write_text(blocks("python")[0])
    (copy / SPEC).write_text(patched((copy / SPEC).read_text(), blocks("diff")[0]))
    return copy


@pytest.fixture
def execute(extended, tmp_path):
    """Runs a script on the copy; its output."""

    def run(text):
        script = tmp_path / "script.py"
        body = "".join(f"    {line}\n" for line in text.splitlines())
        script.write_text(f"if __name__ == '__main__':\n{body}")
        paths = os.pathsep.join((str(extended.parent), *sys.path))
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": paths, "SECUREFL_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
        return done.stdout

    return run


def test_new_model_needs_one_file_and_one_row(extended):
    """The copy has one file more, and its specification alone differs."""
    assert contents(extended) - contents(PACKAGE) == {MODEL}
    common = sorted(contents(PACKAGE))
    _, differing, unread = filecmp.cmpfiles(PACKAGE, extended, common, shallow=False)
    assert (differing, unread) == ([SPEC], [])


@pytest.mark.slow
def test_new_model_trains_in_every_shown_mode(execute, tmp_path):
    """Masked, plain and under local differential privacy, then through report and audit."""
    lines = [shlex.split(line, comments=True) for line in blocks("sh")[0].splitlines()]
    assert all(program == "securefl" for program, *_ in lines)
    shown = blocks("python")[1] + COMMANDS.format([words for _, *words in lines])
    shown += "print(securefl.__file__)\n"
    assert str(tmp_path / "site") in execute(shown).splitlines()[-1]
    weights = [tmp_path / "runs" / name / "model.safetensors" for name in ("secure", "local")]
    assert all(b"directions.weight" in path.read_bytes() for path in weights)


@pytest.mark.slow
def test_new_model_without_units_refuses_dp(extended, execute):
    """A model that says of no privacy unit what its presence comes to has no protection."""
    spec = (extended / SPEC).read_text()
    served = "            served=_SERVED,\n"
    task = '"securefl.tasks.churn.quadratic:PrivateQuadraticTask",\n'
    row = task + served + "            units=_UNITS,"
    assert spec.count(row) == 1
    (extended / SPEC).write_text(spec.replace(row, row.removesuffix("            units=_UNITS,")))
    printed = execute(
        "import securefl\nfrom securefl.errors import ConfigError\n"
        "try:\n"
        "    securefl.configure(task='churn', data='tutorial', model='quadratic', dp='local',"
        " epsilon=4.0)\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    assert "model 'quadratic' cannot be trained privately" in printed
