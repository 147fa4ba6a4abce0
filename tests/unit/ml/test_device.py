"""Where a member computes, and what its draws begin with."""

import traceback

import pytest
import torch

from securefl.ml.device import seed_draws


def test_draws_are_those_of_torchs_own_seed():
    torch.manual_seed(2**62 + 3)
    wanted = torch.rand(5)
    seed_draws(2**62 + 3)
    assert torch.equal(torch.rand(5), wanted)


@pytest.mark.skipif(torch.cuda.is_available(), reason="of what is there no trace is taken")
def test_a_seed_takes_no_stack_trace(monkeypatch):
    """`torch.manual_seed` takes one for each kind of accelerator that is not there."""
    taken = []
    monkeypatch.setattr(traceback, "format_stack", lambda *frames: taken.append(frames) or [])
    seed_draws(1)
    assert not taken
    torch.manual_seed(1)
    assert taken
