"""Churn models: log-odds that a customer does not come back."""

from __future__ import annotations

import math

from torch import Tensor, nn

from securefl.tasks.churn.settings import LogisticSettings, MlpSettings


class Classifier(nn.Module):
    """Log-odds of churn: a weighted sum, plus a hidden layer if configured.

    Args:
        settings: Sizes.
        inputs: Number of features F.
    """

    def __init__(self, settings: LogisticSettings | MlpSettings, inputs: int) -> None:
        super().__init__()
        self.direct = nn.Linear(inputs, 1)
        nn.init.zeros_(self.direct.weight)
        nn.init.constant_(self.direct.bias, math.log(1 / (1 / settings.expected_share - 1)))
        self.hidden: nn.Sequential | None = None
        if isinstance(settings, MlpSettings):
            head = nn.Linear(settings.hidden, 1, bias=False)
            nn.init.zeros_(head.weight)
            layer = nn.Linear(inputs, settings.hidden)
            self.hidden = nn.Sequential(layer, nn.ReLU(), nn.Dropout(settings.dropout), head)

    def forward(self, features: Tensor) -> Tensor:
        """Return log-odds, float [...], from features [..., F]."""
        # Centred by a constant, not by the data: a mean over customers would not be private.
        centred = features - 0.5
        score: Tensor = self.direct(centred)
        if self.hidden is not None:
            score = score + self.hidden(centred)
        return score.squeeze(-1)
