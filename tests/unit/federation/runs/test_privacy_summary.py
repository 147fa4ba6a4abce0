"""What several runs on the same data cost together."""

import pytest

from securefl.federation.runs.privacy_summary import composed_privacy
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian
from support.run_privacy import PRIVACY


@pytest.mark.slow
def test_runs_together_cost_their_ballots_too():
    """Each ballot counts as given, in every run; two retailers' customer pays for both."""
    ballots = SampledGaussian(8.0, sampling_rate=1.0, steps=10)
    (bare,) = composed_privacy([PRIVACY, PRIVACY]).members
    (voted,) = composed_privacy([PRIVACY, PRIVACY], ballots).members
    trained = SampledGaussian(2.5, 0.5, 20)
    assert voted.epsilon == epsilon_of([trained, trained, ballots, ballots], 1e-5, "rdp")
    assert voted.epsilon > bare.epsilon
    assert voted.customer_epsilon == voted.epsilon
    assert voted.two_retailers_epsilon is None or (
        voted.two_retailers_epsilon > bare.two_retailers_epsilon
    )
