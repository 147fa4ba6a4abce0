"""Queries against coordinators that lie, members that collude and customers that buy a lot."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from securefl.config.schema import Dropout
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.account_statements import accounts
from securefl.consortium.ledger.hash_chain import check_chain, read_entry
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import ConfigError, InputError, SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.secure import RoundFailedError
from securefl.federation.analytics.contributions import contribution, sensitivity
from securefl.federation.analytics.queries import ask_for
from securefl.federation.transport.fault_injection import WithDropouts
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.noise.csprng import AesCtrRng

TOP = ask_for("top", "product", records=4)
FULL = ask_for("top", "product", records=12)
"""It bounds nobody here, so that the truth is one vector."""
OTHER = ask_for("top", "product", records=400, repeats=400)
EVERYBODY = ("north", "south", "west", "east", "mid")

CAPPED = """\
version = 1
data_set = "customers"

[cap.customer]
epsilon = {cap}
delta = 1e-5
"""


class Changed:
    """A transport of a coordinator that asks some members another question."""

    def __init__(self, inner, members, query):
        self.inner, self.members, self.query = inner, members, query

    def publish(self, party, message):
        request = m.decode(message)
        if party in self.members and isinstance(request, m.QueryRequest):
            message = m.encode(request.model_copy(update={"query": self.query.canonical()}))
        self.inner.publish(party, message)

    def receive(self, timeout=None):
        return self.inner.receive(timeout)

    def __enter__(self):
        self.inner.__enter__()
        return self

    def __exit__(self, *details):
        self.inner.__exit__(*details)


class Unreadable(RetailerTables):
    """Tables that nobody may look at once the member was built."""

    def __getattribute__(self, name):
        if name == "transactions" and object.__getattribute__(self, "__dict__").get("locked"):
            raise AssertionError("the data were read")
        return object.__getattribute__(self, name)


def locked(tables):
    found = Unreadable(tables.name, tables.transactions)
    found.__dict__["locked"] = True
    return found


def truth(data, catalogue, query, names=EVERYBODY):
    parts = {t.name: contribution(t, catalogue, query, AesCtrRng()) for t in data.members}
    return sum(parts[name] for name in names)


def releases(places, name):
    book = PrivacyLedger(book_path(places.books, name))
    return [row.mechanism for one in book.data_sets() for row in book.releases(one.number)]


def test_the_answer_is_the_truth_and_noise_of_the_stated_size(asked, data, catalogue):
    found = asked(FULL, epsilon=50.0).sum
    difference = found.total - truth(data, catalogue, FULL)
    assert found.survivors == EVERYBODY
    assert np.abs(difference).max() < 6 * found.deviation


def test_the_noise_in_the_decoded_answer_has_the_claimed_law(asked, data, catalogue, tables_of):
    """Tested on the sum that the coordinator decodes, over 8 x 512 coordinates."""
    empty = tables_of.lines(customer=[1], product=-1, value=0.0)
    members = tuple(RetailerTables(one.name, empty) for one in data.members)
    nothing = RetailData("empty", members, data.products)
    query = ask_for("quantiles", "quantity", records=1, bins=512, limits=(0.0, 1e6))
    noise, deviations = [], set()
    for _ in range(8):
        found = asked(query, epsilon=2.0, tables=nothing).sum
        counts = found.total.copy()
        counts[0] -= 5  # one record a member is in the first bin
        noise.append(counts)
        deviations.add(found.deviation)
    (deviation,) = deviations
    values = np.concatenate(noise)
    ratio = values.var() / deviation**2
    assert abs(ratio - 1) < 5 * np.sqrt(2 / values.size)
    # Spread over their unit cell, discrete Gaussian draws pass a test for continuous ones.
    spread = values + np.random.default_rng(1).uniform(-0.5, 0.5, values.size)
    assert stats.kstest(spread / np.sqrt(deviation**2 + 1 / 12), "norm").pvalue > 1e-4


def test_the_shares_of_the_honest_alone_have_the_accounted_noise(asked):
    """Five members, one colludes, one vanishes: three honest shares are in the smallest sum."""
    noise = asked(TOP).sum.noise
    assert noise.honest == 3
    needed = noise.event.noise_multiplier * noise.sensitivity.l2
    assert noise.deviation >= needed
    draws = np.empty((3, 40_000), dtype=np.int64)
    for row in draws:
        noise.sampler().fill(AesCtrRng(), row)
    left = draws.sum(axis=0)  # what remains when colluders subtract their own shares
    assert left.var() > needed**2 * (1 - 5 * np.sqrt(2 / left.size))
    assert epsilon_of([SampledGaussian(noise.event.noise_multiplier, 1.0, 1)], 1e-5) <= 1.0


def test_one_customer_with_a_million_rows_moves_the_sum_by_the_bound_at_most(
    data, catalogue, tables_of
):
    draw = np.random.default_rng(3)
    flood = tables_of.lines(
        np.full(10**6, 999), draw.integers(0, 12, 10**6), draw.gamma(2, 1e4, 10**6)
    )
    words = tables_of.no_words
    mine = data.members[0]
    both = RetailerTables("north", pd.concat([mine.transactions, flood]))
    for query in (TOP, ask_for("sum", "value", records=5, limits=(0.0, 10.0))):
        moved = contribution(both, catalogue, query, words) - contribution(
            mine, catalogue, query, words
        )
        assert 0 < np.linalg.norm(moved) <= sensitivity(query, catalogue).l2 + 1e-9


def test_the_difference_of_two_queries_is_paid_for_by_both(asked, data):
    first = asked(TOP)
    asked(TOP)
    charged = releases(first.places, "north")
    assert len(charged) == 2
    (account,) = accounts(first.places.books, member="north")
    both = [SampledGaussian(one.noise_multiplier, 1.0, 1) for one in charged]
    assert account.epsilon == pytest.approx(epsilon_of(both, 1e-5))
    assert account.epsilon > epsilon_of(both[:1], 1e-5)


def test_the_same_query_asked_twice_has_fresh_noise(asked):
    first, second = asked(TOP).sum, asked(TOP).sum
    assert np.count_nonzero(first.total != second.total) > 6


def test_a_member_above_its_cap_refuses_before_it_reads_and_the_others_go_on(
    asked, data, catalogue, tmp_path, with_tables
):
    policies = tmp_path / "policies"
    policies.mkdir()
    for name in EVERYBODY:
        cap = 0.5 if name == "west" else 5.0
        (policies / f"{name}.toml").write_text(CAPPED.format(cap=cap))
    lock = with_tables("west", locked(data.members[2]))
    run = asked(TOP, policy=policies, change=lock)
    assert run.sum.survivors == ("north", "south", "east", "mid")
    assert "cap of its policy" in run.sum.refused["west"]
    assert releases(run.places, "west") == []
    book = PrivacyLedger(book_path(run.places.books, "west"))
    assert [entry.event.reason for entry in book.refusals()] == ["cap"]


def test_a_member_whose_policy_knows_only_training_refuses_queries(asked, data, tmp_path):
    policies = tmp_path / "policies"
    policies.mkdir()
    for name in EVERYBODY:
        text = CAPPED.format(cap=5.0)
        if name == "mid":
            text = text.replace("\n[cap", 'tasks = ["recommendation"]\n\n[cap')
        (policies / f"{name}.toml").write_text(text)
    run = asked(TOP, policy=policies)
    assert run.sum.refused == {"mid": "its policy does not allow the task"}


def test_when_too_many_refuse_nobody_else_pays(asked, tmp_path):
    policy = tmp_path / "policies"
    policy.mkdir()
    for name in EVERYBODY:
        cap = 0.1 if name in ("west", "mid") else 5.0
        (policy / f"{name}.toml").write_text(CAPPED.format(cap=cap))
    with pytest.raises(InputError, match="has no answer: west, mid refused: the cap"):
        asked(TOP, policy=policy)
    for name in EVERYBODY:
        path = book_path(tmp_path / "books", name)
        book = PrivacyLedger(path)
        assert [book.releases(one.number) for one in book.data_sets()] == [()]


def test_a_member_that_was_asked_something_else_is_in_no_sum(asked, data, catalogue):
    run = asked(FULL, epsilon=50.0, wrap=lambda engine: Changed(engine, {"east"}, OTHER))
    assert "east" not in run.sum.survivors
    others = truth(data, catalogue, FULL, run.sum.survivors)
    assert np.abs(run.sum.total - others).max() < 6 * run.sum.deviation
    assert releases(run.places, "east") == []


def test_a_coordinator_that_asks_two_members_something_else_has_no_sum(asked):
    with pytest.raises(RoundFailedError):
        asked(TOP, wrap=lambda engine: Changed(engine, {"east", "mid"}, OTHER))


def test_a_query_is_answered_once_a_run(asked):
    class Twice(Changed):
        def publish(self, party, message):
            super().publish(party, message)
            if isinstance(m.decode(message), m.QueryRequest):
                self.inner.publish(party, message)
                first, second = self.inner.receive(), self.inner.receive()
                self.again.append(m.decode(second.message))
                self.kept.append(first)

        def receive(self, timeout=None):
            return self.kept.pop(0) if self.kept else self.inner.receive(timeout)

    twice = Twice(None, set(), TOP)
    twice.again, twice.kept = [], []

    def wrap(engine):
        twice.inner = engine
        return twice

    assert asked(TOP, wrap=wrap).sum.survivors == EVERYBODY
    assert len(twice.again) == 5
    assert all("asked before" in reply.text for reply in twice.again)


@pytest.mark.parametrize("step", ["keys", "shares", "masked-input", "consistency", "unmask"])
def test_one_member_may_vanish_at_any_step(asked, data, catalogue, step):
    gone = [Dropout(member="south", round=1, step=step)]
    found = asked(FULL, epsilon=50.0, wrap=lambda engine: WithDropouts(engine, gone)).sum
    late = step in ("consistency", "unmask")  # its masked input is in the sum already
    assert ("south" in found.survivors) is late
    exact = truth(data, catalogue, FULL, found.survivors)
    assert np.abs(found.total - exact).max() < 6 * found.deviation
    assert found.deviation == found.noise.summed_deviation(len(found.survivors))


def test_members_ask_for_no_less_noise_than_was_agreed(asked, config):
    less = asked(TOP, colluding=0).sum.noise
    more = asked(TOP, colluding=2).sum.noise
    assert (less.honest, more.honest) == (4, 2)
    with pytest.raises(ConfigError, match="no honest member"):
        asked(TOP, colluding=4)


def test_the_book_has_a_signed_chain_of_what_was_asked(asked):
    run = asked(TOP)
    book = PrivacyLedger(book_path(run.places.books, "north"))
    (row,) = book.runs()
    assert (row.task, row.dp, row.mode, row.ended) == ("analytics", "distributed", "secure", 1)
    signed = [read_entry(data) for data in book.entries(row.run)]
    key = dict(
        zip(
            run.specs[0].consortium.roster.names,
            run.specs[0].consortium.roster.identities,
            strict=True,
        )
    )["north"]
    check_chain(signed, key)
    kinds = [one.entry.event.kind for one in signed]
    assert kinds == ["start", "release", "outcome", "end"]
    assert signed[1].entry.event.mechanism.clip_norm == run.sum.noise.sensitivity.l2
    assert signed[2].entry.event.survivors == EVERYBODY


def test_a_member_believes_no_other_outcome_than_the_sum_it_verified(asked, data, catalogue):
    class Liar(Changed):
        def publish(self, party, message):
            request = m.decode(message)
            if isinstance(request, m.Conclude):
                request = request.model_copy(update={"survivors": request.survivors[1:]})
            self.inner.publish(party, m.encode(request))

    run = asked(TOP, wrap=lambda engine: Liar(engine, set(), TOP))
    book = PrivacyLedger(book_path(run.places.books, "north"))
    (row,) = book.runs()
    kinds = [read_entry(data).entry.event.kind for data in book.entries(row.run)]
    assert kinds == ["start", "release"]


def test_a_member_without_agreed_noise_answers_no_query_whatever_it_is_asked(asked):
    """The noise is that of the member's own agreement; a coordinator has no say in it."""
    spec = asked(TOP).specs[0]
    signed = spec.consortium.signed
    config = signed.agreement.config
    ask = m.encode(m.QueryRequest(query=TOP.canonical(), cohort=EVERYBODY))
    unprotected = {"dp": "none", "epsilon": None}
    for weaker in (unprotected, {"dp": "local"}, {"unit": "record"}):
        privacy = config.privacy.model_copy(update=weaker)
        changed = config.model_copy(update={"privacy": privacy})
        agreement = signed.agreement.model_copy(update={"config": changed})
        bound = Consortium(signed.model_copy(update={"agreement": agreement}), b"o" * 32)
        (reply,) = replace(spec, consortium=bound).build().handle(ask)
        answer = m.decode(reply)
        assert isinstance(answer, m.Failure)
        reason = "in a run that is masked" if weaker is unprotected else "distributed"
        assert reason in answer.text
    assert len(releases(asked(TOP).places, "north")) == 2  # those of the two good queries


def test_a_message_out_of_place_is_answered_with_no_data(asked):
    spec = asked(TOP).specs[0]
    consortium = replace(spec.consortium, run_id=b"n" * 32)
    for message in (
        m.Protocol(round=1, payload=b"x"),
        m.Train(round=1, shared=b""),
        m.Conclude(round=1, survivors=EVERYBODY, model=bytes(32), transcript=None, since=0),
        m.QueryRequest(query=b"{}", cohort=EVERYBODY),
        m.QueryRequest(query=b" " + TOP.canonical(), cohort=EVERYBODY),
        m.QueryRequest(query=TOP.canonical(), cohort=EVERYBODY[:4]),
    ):
        (reply,) = replace(spec, consortium=consortium).build().handle(m.encode(message))
        assert isinstance(m.decode(reply), m.Failure), message


@pytest.mark.parametrize("customers", [0, 1, 30])
def test_a_large_delta_is_refused_for_all_alike(asked, data, customers):
    """Compared with the agreed number: a member's own would tell how many customers it has."""
    few = tuple(
        replace(t, transactions=t.transactions[t.transactions["customer"] < customers])
        for t in data.members
    )
    tables = replace(data, members=few)
    with pytest.raises(SecureflError, match=r"delta: 0.01 is too large for north; .* agreed"):
        asked(TOP, tables=tables, delta=0.01)
    assert len(asked(TOP, tables=tables, delta=1e-3).sum.survivors) == len(EVERYBODY)
