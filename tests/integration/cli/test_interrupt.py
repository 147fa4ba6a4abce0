import os
import signal
import subprocess
import sys

import pytest

MAIN = "import sys; from securefl_cli.main import main; sys.exit(main())"


@pytest.mark.slow
def test_ctrl_c_reaches_all_processes_and_only_one_line_says_so(here, ratings):
    words = ["run", ratings, "--out", "begun", "--rounds", "1000", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stderr:
        if line.startswith("round 2/"):
            break
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    ends = [line for line in err.splitlines() if not line.startswith("round ")]
    assert ends == ["securefl: interrupted; go on with: securefl run --resume begun"]
    assert out == ""
    assert process.returncode == 130
