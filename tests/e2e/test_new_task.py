"""docs/howto/new-task.md adds a task as it says, and everything that it shows works."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from support.paths import page

PAGE = page("new-task.md").read_text(encoding="utf-8")
COMMANDS = "from securefl_cli.main import main\nfor line in {}:\n    assert main(line) == 0, line\n"

WITHOUT = """
from securefl.config.task_spec import ModelSpec, TaskSpec
from securefl.tasks.churn.settings import MlpSettings

MODELS = (ModelSpec(MlpSettings, "a:B"),)
TASK = TaskSpec(name="favourite", description="", models=MODELS, defaults={})
"""


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def installed(tmp_path):
    """The page's file and its `pyproject.toml`, built and installed by pip into a folder."""
    source, target = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "securefl_favourite.py").write_text(blocks("python")[0])
    (source / "pyproject.toml").write_text(blocks("toml")[0])
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--target", str(target))
    subprocess.run([*pip, *offline, str(source)], check=True, capture_output=True)
    return target


@pytest.mark.slow
def test_the_page_adds_a_task_that_trains_in_every_mode(installed, here):
    lines = [shlex.split(line, comments=True) for line in blocks("sh")[0].splitlines()]
    assert all(program == "securefl" for program, *_ in lines)
    script = here / "script.py"
    shown = blocks("python")[1] + COMMANDS.format([words for _, *words in lines])
    body = "".join(f"    {line}\n" for line in shown.splitlines())
    script.write_text(f"if __name__ == '__main__':\n{body}")
    paths = os.pathsep.join((str(installed), *sys.path))
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": paths, "SECUREFL_HOME": str(here / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    page = (here / "runs" / "local" / "report.html").read_text(encoding="utf-8")
    assert "Favourite accuracy" in page
    assert "As before" in page


def test_the_one_file_stays_small():
    assert blocks("python")[0].count("\n") < 190


def distribution(folder, name, target):
    """What pip leaves of a distribution that registers the task `favourite` as `target`."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[securefl.tasks]\nfavourite = {target}\n")
    return folder


@pytest.mark.parametrize(
    ("targets", "line"),
    [
        (("no_such_module:TASK",), "task: 'favourite' cannot be loaded: No module named"),
        (("securefl.errors:TASK",), "task: 'favourite' cannot be loaded: module"),
        (("securefl.errors:InputError",), "registered as securefl.errors:InputError, which is"),
        (("spec_without:TASK",), "missing 1 required keyword-only argument: 'served'"),
        (("a:TASK", "b:TASK"), "task: 'favourite' is registered more than once: a:TASK, b:TASK"),
    ],
)
def test_a_broken_registration_is_one_line(targets, line, tmp_path):
    """Which of two distributions trains must not be chance, and no plugin ends in a traceback."""
    (tmp_path / "spec_without.py").write_text(WITHOUT)
    folders = [distribution(tmp_path / str(n), f"d{n}", target) for n, target in enumerate(targets)]
    paths = os.pathsep.join((*map(str, folders), str(tmp_path), *sys.path))
    script = "import sys; from securefl_cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, "config", "init", "f.toml", "--task", "favourite"],
        env=os.environ | {"PYTHONPATH": paths},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
