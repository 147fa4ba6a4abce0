import subprocess
import sys
from pathlib import Path

import pytest

MAIN = "import sys; from securefl_cli.main import main; sys.exit(main())"
SLOW = ("torch", "pandas", "pydantic", "pyarrow", "rich")


def loaded_after(code):
    """Which of the slow packages a fresh interpreter has loaded after some code."""
    report = f"import sys; print('LOADED', *[m for m in {SLOW} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return done.stdout.rpartition("LOADED")[2].split()


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_answer_before_anything_slow_is_imported(argument):
    code = f"from securefl_cli.main import main\nassert main(['{argument}']) == 0"
    assert loaded_after(code) == []


def test_importing_the_library_waits_for_nothing():
    assert loaded_after("import securefl; securefl.__version__; dir(securefl)") == []


def test_checking_a_configuration_does_not_wait_for_torch():
    code = "from securefl_cli.main import main\nassert main(['config', 'show']) == 0"
    assert "torch" not in loaded_after(code)


def test_the_console_script_ends_with_the_exit_code():
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "config", "show", "missing.toml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "securefl: missing.toml does not exist\n"


def test_output_onto_a_full_disk_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "config", "show"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "securefl: the output: No space left on device\n"


def test_output_into_a_closed_pipe_is_quiet():
    done = subprocess.run(
        f'"{sys.executable}" -c "{MAIN}" config show | head -c 1',
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
