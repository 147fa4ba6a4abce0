"""Of small changes of the protocol's core, the tests notice at least nine of ten."""

import subprocess
import sys

import pytest

from protocols.mutation.mutants import ROOT, mutants, source_of


@pytest.mark.slow
def test_nine_of_ten_mutants_are_noticed():
    command = [sys.executable, "-m", "protocols.mutation.mutants"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_mutants_differ_from_the_original_and_from_each_other():
    sources = [source_of(mutant) for mutant in mutants("unmasking")]
    assert len(set(sources)) == len(sources) > 5
