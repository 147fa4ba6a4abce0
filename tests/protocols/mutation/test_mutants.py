"""Of small changes of the protocol's core, the tests notice at least nine of ten."""

import subprocess
import sys

import pytest

from protocols.mutation.mutants import ROOT, mutants, source_of

CHECKS = {
    ("client_round", "len(sharers) < plan.min_members"),
    ("client_round", "set(message.deals) != self._held.keys() & sharers"),
    ("client_round", "len(message.deals) < plan.threshold"),
    ("client_round", "len(message.total) != plan.vector_bytes"),
    ("plan", "int(signed.max()) > self.largest_input or int(signed.min()) < -self.largest_input"),
    ("unmasking", "len(shares) < plan.threshold"),
    ("unmasking", "len(revealed) == 1"),
}
"""Checks that once could be left out without any test failing."""
SURVIVORS = """
import sys
from protocols.mutation.mutants import left_out, survives
chosen = [m for m in left_out() if f"{m.module}: {m.change}" in sys.argv[1:]]
print(len(chosen), [m for m in chosen if survives(m, first=True)])
"""


@pytest.mark.slow
def test_nine_of_ten_mutants_are_noticed():
    command = [sys.executable, "-m", "protocols.mutation.mutants"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
def test_no_named_check_can_be_left_out():
    names = [f"{module}: no check of {check}" for module, check in CHECKS]
    command = [sys.executable, "-c", SURVIVORS, *names]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.stdout == f"{len(CHECKS)} []\n", ended.stdout + ended.stderr


def test_mutants_differ_from_the_original_and_from_each_other():
    sources = [source_of(mutant) for mutant in mutants("unmasking")]
    assert len(set(sources)) == len(sources) > 5
