"""Where a member computes, and what its draws begin with."""

import pytest
import torch

from securefl.ml.device import seed_draws


def test_draws_are_those_of_torchs_own_seed():
    torch.manual_seed(2**62 + 3)
    wanted = torch.rand(5)
    seed_draws(2**62 + 3)
    assert torch.equal(torch.rand(5), wanted)


def waiting():
    kinds = torch.cuda, torch.xpu, torch.mtia
    return sum(len(getattr(kind, "_queued_calls", ())) for kind in kinds)


@pytest.mark.skipif(torch.cuda.is_available(), reason="what is there waits for nothing")
def test_a_seed_leaves_nothing_waiting_for_an_accelerator():
    """`torch.manual_seed` adds a call with its stack trace for each kind that is not there."""
    before = waiting()
    seed_draws(1)
    assert waiting() == before
    torch.manual_seed(1)
    assert waiting() > before
