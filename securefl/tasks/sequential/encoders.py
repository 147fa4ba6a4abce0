"""Two encoders of ordered baskets, built from `nn.Linear` alone.

So every per-customer gradient path supports their layers, unlike `nn.GRU` and
`nn.MultiheadAttention`; normalisation has no parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Recurrent(nn.Module):
    """A gated recurrent unit (Cho et al. 2014, eqs. 5 to 8; GRU4Rec, Hidasi et al. 2016).

    Args:
        dim: Length of what goes in and comes out.
        hidden: Length of the state.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.of_input = nn.Linear(dim, 3 * hidden)
        self.of_state = nn.Linear(hidden, 3 * hidden)
        self.hidden = hidden
        self.out = nn.Linear(hidden, dim)

    def forward(self, contents: Tensor, filled: Tensor) -> Tensor:
        """Return the state after each basket, [B, L, dim], from contents [B, L, dim].

        A basket that is not `filled` (bool [B, L]) leaves the state unchanged.
        """
        inputs = self.of_input(contents)
        state = inputs.new_zeros(len(contents), self.hidden)
        states = []
        for step in range(contents.shape[1]):
            after = self._next(inputs[:, step], state)
            state = torch.where(filled[:, step, None], after, state)
            states.append(state)
        found: Tensor = self.out(torch.stack(states, dim=1))
        return found

    def _next(self, given: Tensor, state: Tensor) -> Tensor:
        update, reset, new = given.chunk(3, dim=1)
        of_update, of_reset, of_new = self.of_state(state).chunk(3, dim=1)
        kept = torch.sigmoid(update + of_update)
        candidate = torch.tanh(new + torch.sigmoid(reset + of_reset) * of_new)
        return kept * state + (1 - kept) * candidate


class CausalAttention(nn.Module):
    """One block of self-attention over the baskets so far (SASRec, Kang and McAuley 2018).

    Order enters through a penalty that grows with the distance, with a fixed slope per head,
    instead of learned positions (ALiBi, Press et al. 2022): customers have few baskets, and the
    penalty has no parameters.

    Args:
        dim: Length of what goes in and comes out.
        hidden: Length of the layer after attention.
        heads: Number of heads; divides `dim`.
    """

    def __init__(self, dim: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.inner = nn.Linear(dim, hidden)
        self.outer = nn.Linear(hidden, dim)

    def forward(self, contents: Tensor, filled: Tensor) -> Tensor:
        """Return the state after each basket, [B, L, dim]; see `Recurrent.forward`."""
        read = _normalised(contents)
        queries, keys, values = (
            layer(read).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        agreement = queries @ keys.mT / queries.shape[-1] ** 0.5
        shares = (agreement + self._penalty(filled)).softmax(dim=3)
        heard = contents + (shares @ values).transpose(1, 2).flatten(2)
        found: Tensor = heard + self.outer(torch.relu(self.inner(_normalised(heard))))
        return found

    def _penalty(self, filled: Tensor) -> Tensor:
        """Return the additive attention bias of basket i to j, [B, heads, L, L]."""
        place = torch.arange(filled.shape[1], device=filled.device)
        distance = place[:, None] - place[None, :]
        # An empty basket attends to itself, or its softmax would have no finite entry.
        seen = (distance >= 0) & (filled[:, None, :] | (distance == 0))
        slopes = 2.0 ** -(8.0 / self.heads * torch.arange(1, self.heads + 1, device=filled.device))
        far = -slopes[:, None, None] * distance
        return torch.where(seen[:, None], far, float("-inf"))


def _normalised(values: Tensor) -> Tensor:
    return functional.layer_norm(values, values.shape[-1:])
