"""using-the-model.md does what it says: its commands and its program run as they stand."""

import re
import shlex

import pytest

from securefl.config.task_registry import TASKS
from securefl_cli.main import main
from support.paths import page

PAGE = page("using-the-model.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_the_page_runs(here, capsys):
    """Commands in their order, then the program, which uses what they have left behind."""
    (here / "small.toml").write_text(blocks("toml")[0])
    for line in "".join(blocks("sh")).splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "securefl"
        assert main(words) == 0, line
    for body in blocks("python"):
        exec(compile(body, "using-the-model.md", "exec"), {"__name__": "__main__"})
    assert "recommend" in capsys.readouterr().out
    assert (here / "lists.csv").read_text().startswith("customer,rank,product,score,basis\n")


@pytest.mark.parametrize("task", TASKS)
def test_the_page_shows_ten_lines_of_a_task(task):
    """With the columns that the command writes."""
    (shown,) = re.findall(rf"### {task}\n.*?```text\n(.*?)```", PAGE, re.DOTALL)
    heading, *rows = shown.splitlines()
    assert len(rows) == 10
    assert {row.count(",") for row in rows} == {heading.count(",")}
