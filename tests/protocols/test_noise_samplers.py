"""Integer noise: exact tables, the right laws, tails that can be reached, committed vectors."""

import itertools
import math
from decimal import Decimal, localcontext
from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ive
from scipy.stats import chisquare, norm

from protocols.generate import noise as generator
from securefl_protocols.noise import discrete_gaussian, skellam
from securefl_protocols.noise.alias_table import WEIGHT_BITS, AliasTable, weights_of
from securefl_protocols.noise.discrete_gaussian import DiscreteGaussian, high_precision
from securefl_protocols.noise.skellam import Skellam
from securefl_protocols.noise.skellam_rejection import REACH, RejectionTest
from securefl_protocols.noise.words import UniformWords
from securefl_protocols.primitives.errors import LocalProtocolError
from support.paths import VECTOR_FOLDER

LAWS = [DiscreteGaussian, Skellam]
ONE = 1 << WEIGHT_BITS


def draws(law, variance, count, key=b"k" * 32):
    out = np.empty(count, dtype=np.int64)
    law(variance).fill(UniformWords(key), out)
    return out


class Script:
    """Words from a list, so that a test decides every comparison."""

    def __init__(self, *words):
        self.left = list(words)

    def fill(self, words):
        taken, self.left = self.left[: words.size], self.left[words.size :]
        words.view(np.uint64)[...] = np.array(taken, dtype=np.uint64)


def test_the_committed_vectors():
    for name, text in generator.files().items():
        committed = (VECTOR_FOLDER / name).read_text(encoding="utf-8")
        assert committed == text, name


@pytest.mark.parametrize(
    "case", generator.noise_bad_parameters()["cases"], ids=lambda case: case["why"]
)
def test_a_variance_out_of_range_is_refused(case):
    with pytest.raises(LocalProtocolError):
        generator.LAWS[case["law"]](Fraction(case["variance"]))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("variance", [4.0, True, "4", None])
def test_a_variance_that_is_no_exact_number_is_refused(law, variance):
    with pytest.raises(LocalProtocolError):
        law(variance)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("variance", [4, 1 << 22])
@pytest.mark.parametrize("out", [np.zeros(4), np.zeros((2, 2), np.int64), np.zeros(4, np.int32)])
def test_a_vector_of_another_form_is_not_filled(law, variance, out):
    with pytest.raises(LocalProtocolError):
        law(variance).fill(UniformWords(bytes(32)), out)
    assert not out.any()


def test_a_noise_key_has_32_bytes():
    with pytest.raises(LocalProtocolError):
        UniformWords(bytes(31))


@pytest.mark.parametrize("weights", [[ONE, 0], [-1, ONE + 2, -1], [1, ONE, 1], [0] * 3])
def test_weights_that_are_no_distribution_are_refused(weights):
    with pytest.raises(LocalProtocolError):
        AliasTable(weights)


def represented(table):
    """The probabilities that the table's columns and boundaries stand for, as integers."""
    columns = len(table._boundaries)
    capacity, mass = ONE // columns, [0] * (columns + 2 * table.radius + 1)
    for column, (boundary, alias) in enumerate(zip(table._boundaries, table._aliases, strict=True)):
        entry = int(table._entries[column])
        assert entry >> 32 == boundary >> 160
        assert (entry - (alias - column)) % (1 << 32) == 0
        own = boundary - column * capacity
        mass[column] += own
        mass[alias] += capacity - own
    return mass


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=40).filter(sum))
def test_a_table_represents_its_weights_without_any_rounding(masses):
    weights = weights_of(masses)
    mass = represented(AliasTable(weights))
    assert mass[: len(weights)] == weights
    assert not any(mass[len(weights) :])


@pytest.mark.parametrize("law", LAWS)
def test_the_table_of_a_law_represents_all_its_weights(law):
    module = discrete_gaussian if law is DiscreteGaussian else skellam
    weights = weights_of(module.masses_of(Fraction(2500)))
    assert represented(AliasTable(weights))[: len(weights)] == weights


@pytest.fixture
def tied():
    """A table of three values in four columns, and a column whose boundary is a third of 2^192."""
    third = ONE // 3
    table = AliasTable([third, ONE - 2 * third, third])
    column = next(c for c, b in enumerate(table._boundaries) if b >> 190 == c and b % (1 << 128))
    return table, column


def test_where_64_bits_do_not_decide_128_more_do(tied):
    table, column = tied
    word, rest = divmod(table._boundaries[column], 1 << 128)
    out = np.empty(1, dtype=np.int64)
    for number, expected in ((rest - 1, column), (rest, table._aliases[column])):
        script = Script(word, number >> 64, number & (2**64 - 1))
        table.fill(script, out)
        assert out[0] == expected - table.radius
        assert not script.left


def test_where_32_bits_do_not_decide_the_other_32_do(tied):
    table, column = tied
    word = table._boundaries[column] >> 128
    out = np.empty(2, dtype=np.int64)
    table.fill(Script(word - 1, word + 1), out)
    assert list(out + table.radius) == [column, table._aliases[column]]


def test_discrete_gaussian_weights_against_the_definition():
    variance = Fraction(700, 3)
    masses = discrete_gaussian.masses_of(variance)
    weights = weights_of(masses)
    with localcontext(high_precision()):
        exact = [(-z * z * 3 / Decimal(1400)).exp() for z in range(4 * len(masses))]
        total = 2 * sum(exact) - exact[0]
        errors = [
            abs(Decimal(weights[len(masses) - 1 + z]) / ONE - exact[z] / total)
            for z in range(len(masses))
        ]
        beyond = 2 * sum(exact[len(masses) :]) / total
        assert sum(errors) + beyond < Decimal(2) ** -158
        assert beyond > 0


@pytest.mark.parametrize("variance", [Fraction(1, 3), Fraction(4), Fraction(777), Fraction(90000)])
def test_skellam_weights_against_the_bessel_function(variance):
    masses = skellam.masses_of(variance)
    weights = weights_of(masses)
    z = np.arange(min(len(masses), int(6 * math.sqrt(variance)) + 2))
    ours = np.array([weights[len(masses) - 1 + at] / ONE for at in z])
    assert np.allclose(ours, ive(z, float(variance)), rtol=1e-11)


@pytest.mark.parametrize("variance", [Fraction(2), Fraction(400)])
def test_skellam_weights_are_the_difference_of_two_poissons(variance):
    """To 2^-150, by the sum over both Poissons and by nothing that the sampler uses."""
    masses = skellam.masses_of(variance)
    weights = weights_of(masses)
    with localcontext(high_precision()):
        mean = Decimal(variance.numerator) / Decimal(2 * variance.denominator)
        terms = [(-mean).exp()]
        for k in range(1, 900):
            terms.append(terms[-1] * mean / k)
        for z in (0, 1, 5, len(masses) - 1):
            exact = sum(a * b for a, b in zip(terms, terms[z:], strict=False))
            assert abs(Decimal(weights[len(masses) - 1 + z]) / ONE - exact) < Decimal(2) ** -150


@pytest.mark.parametrize("law", LAWS)
def test_tails_beyond_fourteen_standard_deviations_can_be_drawn(law):
    sampler = law(Fraction(10_000))
    table = sampler._tables[0] if law is DiscreteGaussian else sampler._sampler
    column = table.radius + 1450
    out = np.empty(1, dtype=np.int64)
    # The first words of a column belong to its own value.
    table.fill(Script(column << (64 - table._bits), 0, 0), out)
    assert out[0] == 1450


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("variance", [Fraction(1, 2), Fraction(3), Fraction(40)])
def test_goodness_of_fit_to_the_exact_law(law, variance):
    module = discrete_gaussian if law is DiscreteGaussian else skellam
    weights = np.array([w / ONE for w in weights_of(module.masses_of(variance))])
    out, radius = draws(law, variance, 400_000), len(weights) // 2
    counts = np.bincount(out + radius, minlength=len(weights))
    common = np.flatnonzero(weights * out.size > 20)
    inside = slice(common[0], common[-1] + 1)
    observed = [*counts[inside], counts.sum() - counts[inside].sum()]
    expected = [*weights[inside], 1 - weights[inside].sum()]
    assert chisquare(observed, np.array(expected) * out.size).pvalue > 1e-3


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("deviation", [1000, 1025, 20_000, 1 << 20, 1 << 22])
def test_goodness_of_fit_of_wide_laws(law, deviation):
    """Against the normal law, which at these widths differs by less than 10^-7 a bin."""
    out = draws(law, deviation**2, 400_000)
    inner = np.round(norm.ppf(np.arange(1, 200) / 200) * deviation)
    edges = np.array([-np.inf, *inner, np.inf])
    counts = np.histogram(out, np.array([-(2.0**62), *(inner + 0.5), 2.0**62]))[0]
    expected = np.diff(norm.cdf((edges + 0.5) / deviation))
    assert chisquare(counts, expected * out.size).pvalue > 1e-3
    # The strides of the composition leave no trace in the low bits.
    assert chisquare(np.bincount(out % 64, minlength=64)).pvalue > 1e-3
    assert abs(out).max() > 4 * deviation


def test_moments_of_small_laws():
    out = draws(Skellam, 2, 1_000_000).astype(float)
    assert abs(out.mean()) < 4 * math.sqrt(2 / out.size)
    assert out.var() == pytest.approx(2, rel=0.01)
    # Skellam's excess kurtosis is 1 / variance.
    assert (out**4).mean() / out.var() ** 2 - 3 == pytest.approx(0.5, abs=0.05)


def test_skellam_shares_sum_to_skellam():
    parts = (Fraction(3), Fraction(7, 2), Fraction(9, 2))
    total = sum(draws(Skellam, v, 300_000, bytes([at]) * 32) for at, v in enumerate(parts))
    z = np.arange(-12, 13)
    counts = np.bincount(np.clip(total, -13, 13) + 13, minlength=27)
    inside = ive(abs(z), 11.0)
    tail = (1 - inside.sum()) / 2
    assert chisquare(counts, np.array([tail, *inside, tail]) * total.size).pvalue > 1e-3


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(LAWS),
    st.fractions(Fraction(1, 100), 10**7),
    st.binary(min_size=32, max_size=32),
    st.integers(1, 20_000),
)
def test_a_key_says_what_is_drawn(law, variance, key, count):
    sampler, again = law(variance), law(variance)
    one, two = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    sampler.fill(UniformWords(key), one)
    again.fill(UniformWords(key), two)
    assert np.array_equal(one, two)
    # A sampler keeps nothing from one vector to the next.
    sampler.fill(UniformWords(key), two)
    assert np.array_equal(one, two)
    assert np.abs(one).max() < 40 * math.sqrt(variance) + 200


def test_another_key_draws_other_noise():
    digests = {
        sha256(draws(Skellam, 10**8, 1000, bytes([k]) * 32).tobytes()).digest() for k in range(4)
    }
    assert len(digests) == 4


@settings(max_examples=40, deadline=None)
@given(st.integers(1 << 20, 1 << 44), st.floats(0, 0.998))
def test_the_bounds_of_the_ratio_enclose_it(variance, place):
    acceptance = RejectionTest(Fraction(variance))
    value = int(place * REACH * math.isqrt(variance))
    probability = acceptance.probability(value) / ONE
    low, high = acceptance._bounds(np.array([value]))
    assert low[0] - 1e-12 < probability < high[0] + 1e-12
    assert probability < 1
    assert int(acceptance._safe) / 2**64 < low[0] + 1e-12


def test_the_ratio_against_the_bessel_function():
    variance = 1 << 20
    acceptance = RejectionTest(Fraction(variance))
    largest = math.exp(-float(acceptance._log_largest))
    for value in (0, 1, 1024, 5000, 9999):
        ratio = ive(value, float(variance)) * math.sqrt(2 * math.pi * variance)
        ratio *= math.exp(value**2 / (2 * variance)) * largest
        assert acceptance.probability(value) / ONE == pytest.approx(ratio, rel=1e-12)


def test_what_bounds_leave_open_is_decided_exactly():
    acceptance = RejectionTest(Fraction(1 << 20))
    probability = acceptance.probability(1500)
    word, rest = probability >> 128, probability & ((1 << 128) - 1)
    for number, rejected in ((rest - 1, []), (rest, [0])):
        script = Script(word, number >> 64, number & (2**64 - 1))
        assert acceptance.rejected(script, np.array([1500])).tolist() == rejected
        assert not script.left


def test_a_proposal_out_of_reach_is_never_accepted():
    acceptance = RejectionTest(Fraction(1 << 20))
    values = np.array([0, 15 * 1024, 15 * 1024 + 1, -15 * 1024 - 1])
    assert acceptance.rejected(Script(0, 0, 0, 0), values).tolist() == [2, 3]


def test_rejected_proposals_are_drawn_again():
    variance = 1100**2
    count = 100_000
    proposed, kept = draws(DiscreteGaussian, variance, count), draws(Skellam, variance, count)
    head = slice(0, 8192)
    changed = np.flatnonzero(proposed[head] != kept[head])
    assert 0 < changed.size < 8192 * 4 * 50625 / (24 * variance)


def test_both_signs_and_all_small_values_occur():
    for law, variance in itertools.product(LAWS, (Fraction(1, 5), Fraction(2))):
        out = draws(law, variance, 20_000)
        assert set(range(-1, 2)) <= set(out.tolist())
