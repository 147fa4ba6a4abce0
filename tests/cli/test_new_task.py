"""docs/new-task.md adds a task as it says, and everything that it shows works."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import securefl

PAGE = (Path(__file__).parents[2] / "docs" / "new-task.md").read_text(encoding="utf-8")
PACKAGE = Path(securefl.__file__).parent
COMMANDS = "from securefl_cli.main import main\nfor line in {}:\n    assert main(line) == 0, line\n"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def enlarged(tmp_path):
    """A copy of the package that has the page's file and the page's line, made of links."""
    copy = tmp_path / "with-the-task" / "securefl"
    (copy / "tasks").mkdir(parents=True)
    for folder, into in ((PACKAGE, copy), (PACKAGE / "tasks", copy / "tasks")):
        for entry in folder.iterdir():
            if entry.name not in ("tasks", "registry.py", "__pycache__"):
                (into / entry.name).symlink_to(entry)
    (copy / "tasks" / "favourite.py").write_text(blocks("python")[0])
    registry = (PACKAGE / "tasks" / "registry.py").read_text()
    before, start, after = registry.partition("_TASKS: Final = {\n")
    (copy / "tasks" / "registry.py").write_text(before + start + blocks("text")[0] + after)
    return copy.parent


def test_the_page_adds_a_task_that_trains_in_every_mode(enlarged, here):
    lines = [shlex.split(line, comments=True) for line in blocks("sh")[0].splitlines()]
    assert all(program == "securefl" for program, *_ in lines)
    script = here / "script.py"
    shown = blocks("python")[1] + COMMANDS.format([words for _, *words in lines])
    body = "".join(f"    {line}\n" for line in shown.splitlines())
    script.write_text(f"if __name__ == '__main__':\n{body}")
    paths = os.pathsep.join((str(enlarged), *sys.path))
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": paths, "SECUREFL_HOME": str(here / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    page = (here / "runs" / "local" / "report.html").read_text(encoding="utf-8")
    assert "Foreseen" in page
    assert "As before" in page


def test_the_one_file_stays_small():
    assert blocks("python")[0].count("\n") < 170
