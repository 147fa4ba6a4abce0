"""The masked sum of scores: charged before use, once, with the noise that was agreed."""

import numpy as np
import pytest
from scipy import stats

from securefl.config.load import load_config, merge
from securefl.config.schema import Dropout
from securefl.consortium.ledger.account_statements import accounts
from securefl.consortium.ledger.events import ScoreRelease
from securefl.consortium.ledger.hash_chain import check_chain, read_entry
from securefl.federation import messages as m
from securefl.federation.scores.bounded import STEPS, bounded_integers
from securefl.federation.scores.coordinator import ScoreSum
from securefl.federation.scores.member import scores_charged
from securefl.federation.scores.noised_statement import released_scores, standard_error
from securefl.federation.scores.terms import score_terms
from securefl.federation.transport.local import InProcess
from securefl.ml.metrics.unit_sums import UnitSums
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.calibration import Budget
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.plan import PrivacyPlan
from securefl.privacy.score_plan import least_multiplier, score_event, score_table
from support.score_parties import (
    MODEL,
    NAMES,
    ask_scores,
    ratings_units,
    score_specs,
    with_units,
)
from support.small_runs import SMALL_RATINGS

LOCAL = {"dp": "local", "epsilon": 4.0}
DISTRIBUTED = {"dp": "distributed", "epsilon": 4.0}
METRICS = ("accuracy", "train_accuracy")

CAPPED = 'version = 1\ndata_set = "customers"\n\n[cap.customer]\nepsilon = {cap}\ndelta = 1e-5\n'


def config_of(privacy, **changes):
    return load_config(None, merge(dict(SMALL_RATINGS), {"privacy": privacy, **changes}))


def entries_of(spec):
    entries = [read_entry(data) for data in spec.ledger.entries(0)]
    roster = spec.consortium.roster
    check_chain(entries, roster.identities[roster.names.index(spec.name)])
    return [signed.entry.event for signed in entries]


def truth(specs, names=NAMES):
    table = score_table(specs[0].consortium.config)
    return sum(bounded_integers(table, spec.units, 1 << 20) for spec in specs if spec.name in names)


@pytest.mark.parametrize("privacy", [LOCAL, DISTRIBUTED])
def test_the_sum_is_the_truth_and_noise(tmp_path, privacy):
    """What the coordinator gets differs from the bounded sum by noise of the stated size."""
    specs = score_specs(config_of(privacy), tmp_path)
    found = ask_scores(specs)
    assert found.survivors == NAMES
    difference = found.total - truth(specs)
    assert 0 < np.abs(difference).max() < 6 * found.deviation


@pytest.mark.parametrize("privacy", [LOCAL, DISTRIBUTED])
def test_scores_are_charged_before_they_are_computed(tmp_path, privacy):
    """Each member's ledger has the event before its data are read, and no other event."""
    specs = score_specs(config_of(privacy), tmp_path)
    ask_scores(specs)
    for spec in specs:
        assert spec.log == [True]
        (release,) = [e for e in entries_of(spec) if isinstance(e, ScoreRelease)]
        assert spec.ledger.charged() == (score_event(config_of(privacy)),)
        assert release.cohort == NAMES
        assert release.epsilon_before == 0 < release.epsilon_after


def test_a_member_killed_after_its_charge_releases_nothing_again(tmp_path):
    """A new process finds the charge in its ledger, and refuses to enter a second sum."""
    specs = score_specs(config_of(DISTRIBUTED), tmp_path)
    ask_scores(specs)
    again = ask_scores(specs)
    assert isinstance(again, str)
    assert "released before" in again
    assert all(len(spec.ledger.charged()) == 1 for spec in specs)
    assert all(spec.log == [True] for spec in specs)


def test_a_second_request_in_one_process_is_refused(tmp_path):
    """Two sums of different members would differ in one member's scores."""
    spec = score_specs(config_of(DISTRIBUTED), tmp_path)[0]
    party = spec.build()
    request = m.encode(m.ScoreRequest(number=4, shared=m.pack_vector(MODEL), cohort=NAMES))
    replies = [m.decode(party.handle(request)[0]) for _ in range(2)]
    assert isinstance(replies[0], m.ScoreProtocol)
    assert isinstance(replies[1], m.Failure)
    assert spec.log == []


@pytest.mark.parametrize(
    "change",
    [{"number": 3}, {"number": 5}, {"cohort": NAMES[:4]}, {"cohort": (*NAMES[1:], NAMES[0])}],
)
def test_other_sums_than_the_agreed_one_are_refused(tmp_path, change):
    """Number and cohort are the agreement's; a smaller cohort would hide less."""
    spec = score_specs(config_of(DISTRIBUTED), tmp_path)[0]
    fields = {"number": 4, "shared": m.pack_vector(MODEL), "cohort": NAMES} | change
    reply = m.decode(spec.build().handle(m.encode(m.ScoreRequest(**fields)))[0])
    assert isinstance(reply, m.Failure)
    assert spec.ledger.charged() == ()


@pytest.mark.parametrize("step", ["shares", "masked-input", "consistency", "unmask"])
def test_a_dropout_leaves_the_sum_of_the_others(tmp_path, step):
    """From the masked input on, a member that vanishes is in the sum all the same."""
    specs = score_specs(config_of(DISTRIBUTED), tmp_path)
    found = ask_scores(specs, [Dropout(member="west", round=4, step=step)])
    gone = step in ("shares", "masked-input")
    survivors = tuple(name for name in NAMES if not gone or name != "west")
    assert found.survivors == survivors
    assert np.abs(found.total - truth(specs, survivors)).max() < 6 * found.deviation


def test_too_many_dropouts_leave_no_score_and_keep_the_charges(tmp_path):
    """The run goes on without a score; what was charged stays charged."""
    specs = score_specs(config_of(DISTRIBUTED), tmp_path)
    gone = [Dropout(member=name, round=4, step="masked-input") for name in NAMES[:3]]
    found = ask_scores(specs, gone)
    assert isinstance(found, str)
    assert all(scores_charged(spec.ledger) for spec in specs)
    assert isinstance(ask_scores(specs), str)


def test_a_member_above_its_cap_refuses_before_it_scores(tmp_path):
    """It refuses where the others can go on, and its ledger has the refusal and no charge."""
    policies = tmp_path / "policies"
    policies.mkdir()
    for name in NAMES:
        (policies / f"{name}.toml").write_text(CAPPED.format(cap=0.01 if name == "west" else 9))
    specs = score_specs(config_of(DISTRIBUTED), tmp_path / "books", policies)
    found = ask_scores(specs)
    assert found.survivors == tuple(name for name in NAMES if name != "west")
    west = specs[NAMES.index("west")]
    assert west.log == []
    assert west.ledger.charged() == ()
    assert entries_of(west)[-1].reason == "cap"


def test_a_member_whose_budget_is_spent_refuses(tmp_path):
    """Scores never take a run above its epsilon, whatever was charged before."""
    config = config_of(LOCAL)
    specs = score_specs(config, tmp_path)
    spec, plan = specs[0], PrivacyPlan.of(config)
    spec.ledger.begin(40)
    spec.ledger.enter(1, NAMES, "0" * 64)
    whole = plan.event(1.001 * plan.sigma(3), 3)
    spec.ledger.charge(whole, clip_norm=1.0, rng="test")
    spec.ledger.charge(whole, clip_norm=1.0, rng="test")
    found = ask_scores(specs)
    assert found.survivors == NAMES[1:]
    assert entries_of(spec)[-1].reason == "budget"


@pytest.mark.parametrize("privacy", [{**LOCAL, "scores": 0.0}, {}])
def test_nothing_is_released_where_none_was_agreed(tmp_path, privacy):
    """With a share of 0, or without a budget, members refuse and nothing is charged."""
    config = config_of(privacy)
    specs = score_specs(config, tmp_path)
    assert isinstance(ask_scores(specs), str)
    request = m.encode(m.ScoreRequest(number=4, shared=m.pack_vector(MODEL), cohort=NAMES))
    reply = m.decode(specs[0].build().handle(request)[0])
    assert "no score leaves" in reply.text
    assert specs[0].log == []


@pytest.mark.parametrize(("privacy", "times"), [(LOCAL, 5), (DISTRIBUTED, 5 / 3)])
def test_the_noise_of_all_members_has_the_claimed_law(tmp_path, privacy, times):
    """Summed over members, its variance is the stated one, and it fits a rounded Gaussian."""
    specs = score_specs(config_of(privacy), tmp_path)
    terms = score_terms(specs[0].consortium)
    shares = np.empty((5, 20_000), dtype=np.int64)
    for row in shares:
        terms.noise.sampler().fill(AesCtrRng(), row)
    values, deviation = shares.sum(axis=0), terms.noise.summed_deviation(5)
    needed = score_event(config_of(privacy)).noise_multiplier * terms.noise.sensitivity.l2
    assert deviation == pytest.approx(np.sqrt(times) * needed, rel=1e-3)
    assert abs(values.var() / deviation**2 - 1) < 5 * np.sqrt(2 / values.size)
    edges = stats.norm.ppf(np.linspace(0, 1, 41)) * deviation
    counts = np.histogram(values, edges)[0]
    assert stats.chisquare(counts).pvalue > 1e-4


def test_scores_alone_cost_their_share(tmp_path):
    """By the exact price of a Gaussian; the ledger composes them with all else."""
    config = config_of(LOCAL)
    specs = score_specs(config, tmp_path)
    ask_scores(specs)
    assert score_event(config).noise_multiplier >= least_multiplier(Budget(0.2, 1e-5))
    account = accounts(tmp_path, member="north")[0]
    assert account.epsilon == pytest.approx(epsilon_of(specs[0].ledger.charged(), 1e-5))


def test_the_statement_has_value_and_standard_error(tmp_path):
    """The delta method's figure is the spread of the ratio over many draws of the noise."""
    config = config_of({**LOCAL, "epsilon": 400.0})
    specs = score_specs(config, tmp_path)
    found = ask_scores(specs)
    stated = released_scores(config, METRICS, found)
    score = stated.arms["federated"]["accuracy"]
    exact = truth(specs)
    draw = np.random.default_rng(5).normal(0, found.deviation, (20_000, 2))
    ratios = (exact[0] + draw[:, 0]) / (exact[1] + draw[:, 1])
    assert score.standard_error == pytest.approx(ratios.std(), rel=0.1)
    assert abs(score.value - exact[0] / exact[1]) < 6 * score.standard_error
    assert stated.survivors == NAMES
    assert set(stated.withheld) == {"train_accuracy"}


def test_a_drowned_denominator_has_no_ratio(tmp_path):
    """Where noise is as large as the count, nothing is shown."""
    config = config_of({**LOCAL, "epsilon": 0.1})
    specs = score_specs(config, tmp_path, units=lambda seed: ratings_units(seed, 2))
    score = released_scores(config, METRICS, ask_scores(specs)).arms["federated"]["accuracy"]
    assert np.isnan(score.value)
    assert np.isnan(score.standard_error)


def test_standard_error_of_an_exact_denominator():
    """With noise in the numerator alone it is that noise over the denominator."""
    assert standard_error(0.3, 100.0, 5.0, 0.0) == pytest.approx(0.05)
    assert standard_error(0.5, 100.0, 3.0, 8.0) == pytest.approx(0.05)


def test_the_statement_says_what_does_not_leave(tmp_path):
    """A share of 0 and a failed sum are named."""
    config = config_of({**LOCAL, "scores": 0.0})
    assert released_scores(config, METRICS, "x").withheld == {"all": "privacy.scores is 0"}
    failed = released_scores(config_of(LOCAL), METRICS, "too few are left")
    assert failed.withheld == {"all": "too few are left"}
    assert failed.arms == {}


def test_one_unit_cannot_fill_a_sum(tmp_path):
    """A member whose one unit has a million cases adds its bound, as any other."""
    config = config_of({**LOCAL, "epsilon": 400.0})
    specs = score_specs(config, tmp_path)
    many = UnitSums({"accuracy": np.array([1e6])}, {"cases": np.array([1e6])})
    specs = [with_units(specs[0], many), *specs[1:]]
    others = truth(specs[1:])
    found = ask_scores(specs)
    assert np.abs(found.total - others - STEPS).max() < 6 * found.deviation
    assert isinstance(found, ScoreSum)


class Repeating(InProcess):
    """A transport that hands every message to the members twice."""

    def publish(self, party, message):
        if isinstance(m.decode(message), m.ScoreProtocol):
            self._parties[party].handle(message)
        super().publish(party, message)


def test_a_repeated_message_charges_nothing_again(tmp_path):
    """Repeated deliveries, also after the end of the session, change nothing."""
    specs = score_specs(config_of(DISTRIBUTED), tmp_path)
    ask_scores(specs, engine=Repeating)
    assert all(len(spec.ledger.charged()) <= 1 for spec in specs)
    assert all(len(spec.log) <= 1 for spec in specs)
