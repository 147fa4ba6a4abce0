import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MAIN = "import sys; from securefl_cli.main import main; sys.exit(main())"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("kill", [os.killpg, os.kill])
def test_a_signal_ends_all_processes_and_only_one_line_says_so(here, ratings, kill, number):
    """Sent to all processes, as a terminal does it, or to the first alone, as a container does."""
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
    kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    ends = [line for line in err.splitlines() if not line.startswith("round ")]
    assert ends == ["securefl: interrupted; go on with: securefl run --resume begun"]
    assert out == ""
    assert process.returncode == 128 + number
    assert gone(process.pid)


def gone(group):
    """Whether all processes of a group are gone; what watches over shared memory ends later."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_nohup_keeps_its_meaning(here):
    """A signal that was ignored before the start stays so."""
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from securefl_cli.main import stop_on_signals; stop_on_signals();"
        "assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN;"
        "assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_process_of_a_container_ends_when_told(here, ratings, number):
    """The kernel gives process 1 no default action: what it has no handler for is ignored."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no namespace of processes can be made here")
    program = "import os, sys; print(os.getpid(), file=sys.stderr, flush=True);"
    program += "from securefl_cli.main import main; sys.exit(main())"
    words = ["run", str(ratings), "--out", "begun", "--rounds", "1000", "--workers", "1"]
    process = subprocess.Popen(
        [*unshare, sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline() == "1\n"
    for line in process.stderr:
        if line.startswith("Training"):
            break
    (inside,) = children_of(process.pid)
    os.kill(inside, number)
    _, err = process.communicate(timeout=60)
    assert "securefl: interrupted; go on with" in err
    assert process.returncode == 128 + number


def children_of(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]
