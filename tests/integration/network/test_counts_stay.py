"""Counts of customers and samples are in the members' own folders and nowhere else."""

import json
import re
import time
import urllib.error
import urllib.request
from contextlib import ExitStack

import msgpack
import numpy as np
import pandas as pd
import pytest

from securefl.audit.report.page import write_report
from securefl.config.load import load_config, merge
from securefl.consortium.ledger.transparency_log import open_log
from securefl.federation import messages as m
from securefl.federation.coordinator.ledger_recorder import Recorder
from securefl.federation.coordinator.scores import sums_alone
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.loop import Hooks, RoundLoop, federation_of, taking_part
from securefl.federation.runs.prepare import prepare
from securefl.federation.runs.progress import Silent
from securefl.federation.runs.run import run
from securefl.federation.runs.simulation import local_consortium, member_specs
from securefl.federation.runs.summary import summarise
from securefl.federation.transport.exchange import Exchange
from securefl.federation.transport.local import InProcess
from securefl.tasks.served.model import open_model
from support.brokers import free_port
from support.consortium_processes import (
    found,
    life_of_commanded_coordinator,
    life_of_member,
    open_broker,
)
from support.nats_cluster import PROCESSES, start_processes
from support.small_runs import NETWORK_MEMBERS, network_config

CUSTOMERS = 1013
"""Of one retailer, each with the same number of purchases; no setting has this number."""
LEAST = 900
"""Smaller counts are not looked for: random bytes would have them by chance."""
PROTECTIONS = {
    "masked": {"mode": "secure"},
    "local": {"mode": "plain", "privacy": {"dp": "local"}},
    "distributed": {"mode": "secure", "privacy": {"dp": "distributed"}},
}
BUDGET = {
    "epsilon": 4.0,
    "delta": 1e-4,
    "sampling_rate": 1.0,
    "expected_batch": 500.0,
    "steps": 1,
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory, purchases):
    """The purchases of four retailers, one of which has `CUSTOMERS`; a configuration on them."""
    folder = tmp_path_factory.mktemp("planted")
    source = folder.parent / purchases["data"]["root"]
    (folder / "catalogue.csv").write_bytes((source / "catalogue.csv").read_bytes())
    for member in purchases["data"]["members"]:
        file = member["transactions"]
        (folder / file).write_bytes((source / file).read_bytes())
    rng = np.random.default_rng(1)
    baskets = np.repeat(np.arange(3 * CUSTOMERS), 2)
    frame = pd.DataFrame(
        {
            "customer": baskets % CUSTOMERS,
            "product": 100 + (40 * rng.power(0.7, baskets.size)).astype(int),
            "time": pd.Timestamp("2026-01-05") + pd.to_timedelta(baskets // 2, unit="h"),
            "quantity": 1,
            "value": 2.5,
            "basket": baskets,
        }
    )
    frame.to_csv(folder / "north.csv", index=False)
    return merge(purchases, {"rounds": 2, "data": {"root": str(folder)}})


def config_of(planted, protection):
    changes = PROTECTIONS[protection]
    if "privacy" in changes:
        changes = merge({"privacy": BUDGET}, changes)
    return load_config(None, merge(planted, changes))


def counts_of(prepared):
    """All that counts customers, units or samples of a member, large enough to be looked for."""
    counts = {n for x in prepared.members for n in (x.samples, x.units, x.customers) if n >= LEAST}
    config = json.dumps(prepared.config.model_dump(mode="json"))
    assert counts
    assert not any(states(config, count) for count in counts)
    return counts


def states(text, count):
    return re.search(rf"(?<![\w.]){count}(?!\w)", text, re.ASCII) is not None


def stated_in_files(folder, counts, but=()):
    """The files below a folder that state a count, without those below the folders `but`."""
    return [
        (file.name, count)
        for file in folder.rglob("*")
        if file.is_file() and not any(own in file.parents for own in but)
        for count in counts
        if states(file.read_bytes().decode("latin-1"), count)
    ]


class Tap(InProcess):
    """The transport of members that only a network would have; keeps what they say."""

    def __init__(self, specs):
        super().__init__(specs)
        self.said = []

    def receive(self, timeout=None):
        delivery = super().receive(timeout)
        self.said.append(delivery.message)
        return delivery


def numbers_in(tree):
    """All numbers and texts of a message, protocol payloads and vectors apart."""
    if isinstance(tree, dict):
        return [x for value in tree.values() for x in numbers_in(value)]
    if isinstance(tree, list | tuple):
        return [x for value in tree for x in numbers_in(value)]
    if isinstance(tree, bytes):
        return [tree.decode("latin-1")]
    return [tree]


def stated_in_messages(messages, counts):
    """The kinds of the messages that state a count, as a number or in a text."""
    return [
        (m.decode(message).kind, count)
        for message in messages
        for value in numbers_in(msgpack.unpackb(message))
        for count in counts
        if (states(value, count) if isinstance(value, str) else value == count)
    ]


def test_control_plain_run_states_samples(tmp_path, planted):
    """In mode `plain` without a budget the weights of the mean are in the result."""
    config = load_config(None, merge(planted, {"mode": "plain", "rounds": 1}))
    samples = {member.samples for member in prepare(config).members}
    directory = RunDirectory.create(tmp_path / "run", config)
    run(directory)
    found = stated_in_files(directory.path, samples)
    assert {("result.json", count) for count in samples} <= set(found)


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_private_run_states_no_count(tmp_path, planted, protection):
    """Neither the files of a simulation but those of its members, nor its summary or report."""
    config = config_of(planted, protection)
    counts = counts_of(prepare(config))
    counts.add(CUSTOMERS)
    directory = RunDirectory.create(tmp_path / "run", config)
    result = run(directory)
    own = [directory.member_path(member.name) for member in result.members]
    write_report(directory.path, tmp_path / "run" / "report.html")
    assert not stated_in_files(directory.path, counts, but=own)
    assert all(member.samples is None for member in result.members)
    assert not any(states(str(summarise(result)), count) for count in counts)


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_private_members_say_no_count(tmp_path, planted, protection):
    """No message of a member, in a run as it is over a network: without an observer."""
    prepared = prepare(config_of(planted, protection))
    counts = counts_of(prepared)
    directory = RunDirectory.create(tmp_path / "run", prepared.config)
    consortium, identities = local_consortium(prepared)
    specs = member_specs(prepared, directory, consortium, identities)
    log = open_log(directory.ledger_path, consortium)
    with Tap(specs) as transport:
        exchange = Exchange(transport)
        recorder = Recorder(log, exchange, consortium.roster.names)
        members = taking_part(recorder, exchange)
        scores = sums_alone(exchange, consortium, prepared.task.scored_metrics)
        federation = federation_of(
            prepared, directory, consortium, exchange, members, scores=scores
        )
        trained = RoundLoop(federation, Hooks(), prepared, directory, recorder, Silent()).run()
    log.close()
    assert trained.arms == {}
    assert len(transport.said) > 20
    assert not stated_in_messages(transport.said, counts)


def scraped(port):
    """The text of the metrics endpoint; empty where nothing is served yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            return page.read().decode()
    except (urllib.error.URLError, OSError):
        return ""


@pytest.mark.slow
def test_network_states_no_count(tmp_path):
    """Neither the coordinator's files, its log and its status, nor the metrics endpoint."""
    pytest.importorskip("prometheus_client")
    data = {"retailers": 4, "customers": 60, "items": 40, "interactions": [1300, 1600]}
    config = network_config("secure", data={"source": "tutorial", **data})
    counts = counts_of(prepare(config))
    village, port, pages = found(tmp_path / "village", config, NETWORK_MEMBERS), free_port(), []
    start_processes()
    with ExitStack() as stack:
        stack.enter_context(open_broker(village))
        members = [(life_of_member, (village, name)) for name in NETWORK_MEMBERS]
        hub = (life_of_commanded_coordinator, (village, "--metrics-port", port))
        processes = []
        for life, details in (*members, hub):
            processes.append(PROCESSES.Process(target=life, args=details, daemon=True))
            processes[-1].start()
            stack.callback(processes[-1].kill)
        until = time.monotonic() + 120
        while processes[-1].exitcode is None and time.monotonic() < until:
            pages.append(scraped(port))
            time.sleep(0.1)
        assert processes[-1].exitcode == 0, (village.folder / "hub.log").read_text()[-3000:]
        for process in processes[:-1]:
            process.join(60)
    served = [page for page in pages if "securefl_round" in page]
    assert served
    samples = [line for page in served for line in page.splitlines() if "bytes" not in line]
    assert not any(states(line, count) for line in samples for count in counts)
    assert not stated_in_files(village.folder / "run", counts)
    assert not any(states((village.folder / "hub.log").read_text(), n) for n in counts)
    result = json.loads((village.folder / "run" / "result.json").read_text())
    assert result["metrics"] == {}
    assert all(
        member == {"name": member["name"], "samples": None, "metrics": {}}
        for member in result["members"]
    )
    for name in NETWORK_MEMBERS:
        (figures,) = (village.folder / name).rglob("figures.json")
        own = json.loads(figures.read_text())
        assert {"federated", "naive", "alone"} == set(own)
        # With no other party alive: the model that it holds has these figures, and predicts.
        model = open_model(figures.with_name("model"))
        assert model.evaluate() == model.metrics == own["federated"]
        assert model.manifest.member == name
        assert len(model.recommend(k=3)) > 3
