import os
import signal
import subprocess
import sys
import time

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
