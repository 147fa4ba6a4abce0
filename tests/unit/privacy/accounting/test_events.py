"""The algebra of events, and which accountant has a price for what."""

import math

import pytest

from securefl.privacy.accounting.accountant import (
    IntegerRdpAccountant,
    PrvAccountant,
    RdpAccountant,
    UnsupportedEventError,
    accountant_for,
    epsilon_of,
)
from securefl.privacy.accounting.events import (
    ComposedDpEvent,
    DpEvent,
    GaussianDpEvent,
    NonPrivateDpEvent,
    NoOpDpEvent,
    PoissonSampledDpEvent,
    SampledGaussian,
    SampledSkellam,
    SelfComposedDpEvent,
    SkellamDpEvent,
    Term,
    terms_of,
)
from securefl.privacy.accounting.sensitivity import Sensitivity

DELTA = 1e-5
GAUSSIAN = GaussianDpEvent(2.0)
SKELLAM = SkellamDpEvent(10_000, Sensitivity(10.0, 50))


@pytest.mark.parametrize("accountant", ["pld", "prv", "rdp"])
def test_shorthand_costs_what_its_expansion_does(accountant):
    """`SampledGaussian` is no mechanism of its own."""
    short = SampledGaussian(2.0, 0.1, 30)
    long = SelfComposedDpEvent(PoissonSampledDpEvent(0.1, GAUSSIAN), 30)
    assert epsilon_of([short], DELTA, accountant) == epsilon_of([long], DELTA, accountant)


def test_composition_in_any_grouping_costs_the_same():
    """Nested compositions are flattened; counts multiply."""
    step = PoissonSampledDpEvent(0.5, GAUSSIAN)
    nested = SelfComposedDpEvent(ComposedDpEvent((step, SelfComposedDpEvent(step, 2))), 4)
    assert epsilon_of([nested], DELTA) == epsilon_of([SampledGaussian(2.0, 0.5, 12)], DELTA)
    alone = RdpAccountant().compose(step, 12).get_epsilon(DELTA)
    assert alone == epsilon_of([nested], DELTA, "rdp")


def test_terms_have_the_sample_and_the_count():
    """A leaf without a sample is on all units."""
    event = ComposedDpEvent((GAUSSIAN, SampledSkellam(10_000, SKELLAM.sensitivity, 0.2, 3)))
    assert list(terms_of(event, 2)) == [Term(GAUSSIAN, 1.0, 2), Term(SKELLAM, 0.2, 6)]


def test_accountants_support_what_they_price():
    """Skellam noise has integer orders alone, and so has what is composed with it."""
    mixed = ComposedDpEvent((GAUSSIAN, PoissonSampledDpEvent(0.5, SKELLAM)))
    for kind in (RdpAccountant, PrvAccountant):
        assert kind().supports(GAUSSIAN)
        assert not kind().supports(mixed)
    assert IntegerRdpAccountant().supports(mixed)
    assert isinstance(accountant_for("prv", [GAUSSIAN]), PrvAccountant)
    assert isinstance(accountant_for("prv", [GAUSSIAN, mixed]), IntegerRdpAccountant)


class Unknown(DpEvent):
    """No accountant has heard of it."""


@pytest.mark.parametrize(
    "event",
    [
        Unknown(),
        SelfComposedDpEvent(Unknown(), 3),
        ComposedDpEvent((GAUSSIAN, Unknown())),
        PoissonSampledDpEvent(0.5, Unknown()),
        PoissonSampledDpEvent(0.5, PoissonSampledDpEvent(0.5, GAUSSIAN)),
        PoissonSampledDpEvent(0.5, ComposedDpEvent((GAUSSIAN, GAUSSIAN))),
    ],
)
def test_unknown_event_is_refused_wherever_it_stands(event):
    """What has no price is never priced as nothing, and no sample of a composition is guessed."""
    for kind in (RdpAccountant, PrvAccountant, IntegerRdpAccountant):
        with pytest.raises(UnsupportedEventError):
            kind().compose(event)
    with pytest.raises(UnsupportedEventError):
        epsilon_of([GAUSSIAN, event], DELTA)


def test_nothing_costs_nothing_and_no_noise_everything():
    """The two ends of the algebra."""
    assert epsilon_of([NoOpDpEvent()], DELTA) == 0.0
    with_noise = epsilon_of([GAUSSIAN], DELTA)
    assert epsilon_of([GAUSSIAN, NoOpDpEvent()], DELTA) == with_noise > 0
    assert epsilon_of([GAUSSIAN, NonPrivateDpEvent()], DELTA) == math.inf
    assert epsilon_of([SelfComposedDpEvent(NonPrivateDpEvent(), 0)], DELTA) == 0.0
