"""Ways into the command line beside the program: a module, short help, a shell's completion."""

import subprocess
import sys

import pytest

from securefl._version import __version__
from securefl_cli import main, verifier


def test_module_is_the_program():
    done = subprocess.run(
        [sys.executable, "-m", "securefl", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"securefl {__version__}\n"


@pytest.mark.parametrize("words", [(), ("run",), ("audit", "verify"), ("demo",)])
def test_short_help_is_the_long_one(cli, words):
    short, long = cli(*words, "-h"), cli(*words, "--help")
    assert short.code == long.code == 0
    assert short.out == long.out


def test_shell_asks_for_its_script(cli, monkeypatch):
    """Click ends it with an exit of its own, which is no broken pipe."""
    monkeypatch.setenv("_SECUREFL_COMPLETE", "zsh_source")
    outcome = cli()
    assert outcome.code == 0
    assert "#compdef securefl" in outcome.out


def test_shell_completes_a_command(cli, monkeypatch):
    monkeypatch.setenv("_SECUREFL_COMPLETE", "zsh_complete")
    monkeypatch.setenv("COMP_WORDS", "securefl dem")
    monkeypatch.setenv("COMP_CWORD", "1")
    outcome = cli()
    assert outcome.code == 0
    assert "demo" in outcome.out.splitlines()


@pytest.mark.parametrize("program", [main, verifier])
def test_closed_streams_are_no_bug(monkeypatch, program):
    """`securefl … >&-`, as a service without any output is started."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    code = program.main(["audit", "explain", "no.json"][program is verifier :])
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()
    assert code == 2
