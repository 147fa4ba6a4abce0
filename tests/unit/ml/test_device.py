"""Where a member computes, and what its draws begin with."""

import torch

from securefl.ml.device import seed_draws


def test_draws_are_those_of_torchs_own_seed():
    torch.manual_seed(2**62 + 3)
    wanted = torch.rand(5)
    seed_draws(2**62 + 3)
    assert torch.equal(torch.rand(5), wanted)


def test_a_seed_leaves_nothing_waiting_for_an_accelerator(monkeypatch):
    """`torch.manual_seed` adds a call with its stack trace for each kind that is not there."""
    waiting = []

    def note(*call, **named):
        waiting.append(call)

    for kind in (torch.cuda, torch.xpu, torch.mtia):
        monkeypatch.setattr(kind, "_lazy_call", note, raising=False)  # older ones lack some
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    seed_draws(1)
    assert not waiting
    torch.manual_seed(1)
    assert waiting
