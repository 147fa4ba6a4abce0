"""All that leaves a member under a budget is in a table, and public fields are equal for all data.

A run is made twice, with and without a customer who is as harmful as the schema allows, or with no
customer at all. What members say and what is written of it may differ in releases, seals, keys and
clocks alone: neither in kinds and numbers of answers, nor in lengths, errors or refusals.
"""

import json
from dataclasses import fields, is_dataclass, replace
from typing import get_args

import msgpack
import pandas as pd
import pytest

from securefl.config.load import load_config
from securefl.config.task_registry import declaration
from securefl.consortium.ledger.events import Event
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.consortium.ledger.transparency_log import open_log
from securefl.data.digests import DataDigests
from securefl.data.tables import RetailerTables
from securefl.federation import messages as m
from securefl.federation.coordinator.ledger_recorder import Recorder
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.coordinator.scores import sums_alone
from securefl.federation.member.answers import ANSWERS, QUERY_ANSWERS, REFUSING_ANSWERS
from securefl.federation.runs.agreement import resident_consortium
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.loop import Hooks, RoundLoop, federation_of, taking_part
from securefl.federation.runs.outcome import completed
from securefl.federation.runs.prepare import Prepared, starting_model
from securefl.federation.runs.progress import Silent
from securefl.federation.runs.result import RunResult
from securefl.federation.runs.simulation import member_specs
from securefl.federation.scores.statement import ReleasedScores
from securefl.federation.services.status import RunStatus
from securefl.federation.transport.exchange import Exchange
from securefl.federation.transport.local import InProcess
from securefl.tasks.registry import create_task
from support.leaving import EVENTS, MESSAGES, RESULTS, Holds
from support.neighbours import cases
from support.neighbours_data import BASE, HIGHEST, MEMBERS, adversary, agreed, receipts

NAME = "retailer-0"
KINDS = ("no customer", "everything", "gigantic", "not finite", "no number", "end of time")
EVERY = [case for case in cases(("auto",)) if case.unit != "member"]
QUICK = [
    case
    for case in EVERY
    if (case.task, case.model, case.dp)
    in {("churn", "logistic", "local"), ("recommendation", "profile", "distributed")}
]
ENTRY = ("run", "agreement", "previous", "time", "signature")


def kind_of(message):
    return message.model_fields["kind"].default


def test_every_field_that_a_member_sends_is_in_the_table():
    """A new message or field is refused until it is said what it may hold."""
    rules = (*ANSWERS, *QUERY_ANSWERS, *REFUSING_ANSWERS)
    replies = {reply for rule in rules for reply in rule.reply}
    beside = {m.Failure, m.Refused, m.CacheMiss, m.Done, m.Absent}
    for reply in replies | beside:
        assert set(reply.model_fields) - {"kind"} == set(MESSAGES[kind_of(reply)]), reply


def test_every_field_of_an_entry_is_in_the_table():
    for event in get_args(get_args(Event)[0]):
        known = EVENTS[kind_of(event)]
        assert set(event.model_fields) - {"kind"} <= set(known), event


def classes_in(annotation):
    """The dataclasses and models in the type of a field."""
    inner = [found for part in get_args(annotation) for found in classes_in(part)]
    is_class = is_dataclass(annotation) or hasattr(annotation, "model_fields")
    return [annotation, *inner] if is_class else inner


def test_every_field_that_is_written_is_in_the_table():
    """Results, round records and statuses, with all classes in them."""
    import typing

    waiting, seen = [RunResult, RoundRecord, RunStatus, ReleasedScores], set()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        hints = typing.get_type_hints(one)
        names = [f.name for f in fields(one)] if is_dataclass(one) else list(one.model_fields)
        assert set(names) <= set(RESULTS[one.__name__]), one
        waiting += [inner for name in names for inner in classes_in(hints[name])]
    assert {one.__name__ for one in seen} == set(RESULTS)


# -- two data sets ---------------------------------------------------------------------------------


class Tap(InProcess):
    """The transport of members that only a network would have; keeps what one of them says."""

    def __init__(self, specs):
        super().__init__(specs)
        self.said = []

    def receive(self, timeout=None):
        delivery = super().receive(timeout)
        if delivery.sender == NAME:
            self.said.append(delivery.message)
        return delivery


def config_of(case):
    """Two rounds of a private run; local noise travels under masks as well."""
    privacy = {"dp": case.dp, "unit": case.unit, "epsilon": 8.0, "delta": 1e-5}
    privacy |= {"sampling_rate": 1.0, "expected_batch": 8.0, "steps": 1}
    tree = {"task": case.task, "model": {"name": case.model}, "privacy": privacy, "rounds": 2}
    source = next(iter(declaration(case.task).defaults))
    beside = {"references": {"enabled": False}, "training": {"learning_rate": 1e-6}}
    return load_config(None, tree | beside | {"mode": "secure", "data": {"source": source}})


def prepared(case, lines):
    config = config_of(case)
    task = create_task(config)
    facts = task.agree(agreed())
    others = [receipts(range(100 * n, 100 * n + 6), seed=n) for n in range(1, MEMBERS)]
    tables = [
        RetailerTables(f"retailer-{n}", part.reset_index(drop=True))
        for n, part in enumerate([lines, *others])
    ]
    members = tuple(task.prepare(table, facts) for table in tables)
    digests = DataDigests.of(replace(agreed(), members=tuple(tables)))
    return Prepared(config, task, facts, members, starting_model(config, task, facts), digests)


def run_of(case, lines, folder):
    """What the member said, and what the coordinator wrote: result and round records."""
    ready = prepared(case, lines)
    directory = RunDirectory.create(folder / "run", ready.config, LedgerPaths(folder / "books"))
    consortium, identities = resident_consortium(ready, directory)
    log = open_log(directory.ledger_path, consortium)
    with Tap(member_specs(ready, directory, consortium, identities)) as transport:
        exchange = Exchange(transport)
        recorder = Recorder(log, exchange, consortium.roster.names)
        members = taking_part(recorder, exchange)
        scores = sums_alone(exchange, consortium, ready.task.scored_metrics)
        parties = federation_of(ready, directory, consortium, exchange, members, scores=scores)
        loop = RoundLoop(parties, Hooks(), ready, directory, recorder, Silent())
        completed(directory, lambda: (ready, loop.run()))
    log.close()
    result = json.loads((directory.path / "result.json").read_text())
    records = (directory.path / "metrics.jsonl").read_text().splitlines()
    return [msgpack.unpackb(one) for one in transport.said], result, list(map(json.loads, records))


def comparable(value, holds):
    """What has to be equal: a public value, or the length of what is noised or sealed."""
    if holds is Holds.PUBLIC:
        return value
    return len(value) if holds in (Holds.NOISED, Holds.SEALED) and value is not None else None


def said(message):
    """A member's message without what may differ; entries by the table of events."""
    table = MESSAGES[message["kind"]]
    shown = {name: comparable(message[name], table[name]) for name in table if name != "entries"}
    if "entries" in table:
        shown["entries"] = [entry_of(json.loads(entry)) for entry in message["entries"]]
    return message["kind"], shown


def entry_of(signed):
    entry = dict(signed["entry"])
    event = entry.pop("event")
    table = EVENTS[event["kind"]]
    public = {name: comparable(event[name], table[name]) for name in event if name != "kind"}
    return event["kind"], public, {name: entry[name] for name in entry if name not in ENTRY}


def written(tree, name="RunResult"):
    """A result without what may differ, and without what only an observer computed."""
    table, parts = RESULTS[name], {"scores": "ReleasedScores"}
    lists = {"members": "MemberResult", "history": "RoundCost", "left_out": "LeftOut"}
    if name == "RunPrivacy":
        lists = {"members": "MemberPrivacy"}
    shown = {}
    for field, value in tree.items():
        if table[field] is Holds.OBSERVED:
            assert not value  # nobody observes this run
        elif field in lists:
            shown[field] = [written(one, lists[field]) for one in value]
        elif field == "privacy" or field in parts:
            shown[field] = written(value, parts.get(field, "RunPrivacy"))
        elif table[field] is Holds.PUBLIC:
            shown[field] = value
    return shown


def shown_by(case, lines, folder):
    folder.mkdir()
    messages, result, records = run_of(case, lines, folder)
    rounds = [written(record, "RoundRecord") for record in records]
    return [said(message) for message in messages], written(result), rounds


def compare(case, kinds, tmp_path):
    base = receipts(BASE, seed=9)
    whole = shown_by(case, base, tmp_path / "base")
    assert len(whole[0]) > 15
    for kind in kinds:
        more = base[:0]
        if kind != "no customer":
            more = pd.concat([base, adversary(kind, HIGHEST, base)], ignore_index=True)
        found = shown_by(case, more, tmp_path / kind)
        assert found == whole, kind


def named(case):
    return "-".join((case.task, case.model, case.unit, case.dp))


@pytest.mark.parametrize("case", QUICK, ids=named)
def test_members_say_the_same_whoever_is_there(case, tmp_path):
    kinds = ("no customer", "gigantic") if case.dp == "local" else ("no customer",)
    compare(case, kinds, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", EVERY, ids=named)
def test_no_model_says_more_of_any_customer(case, tmp_path):
    """Every task, model, unit and mechanism."""
    compare(case, KINDS, tmp_path)


def test_what_a_member_writes_for_itself_fails_unseen(tmp_path, monkeypatch, caplog):
    """Predictions that cannot be made of some customers are the member's own business."""
    from securefl.tasks.common.learner import LocalProblem

    kept = LocalProblem.local_outputs

    def outputs(self, model):
        if self.data.name == NAME:
            raise ZeroDivisionError("of what these customers bought")
        return kept(self, model)

    case = next(case for case in QUICK if case.dp == "local")
    lines = receipts(BASE, seed=9)
    before = shown_by(case, lines, tmp_path / "before")
    monkeypatch.setattr(LocalProblem, "local_outputs", outputs)
    assert shown_by(case, lines, tmp_path / "after") == before
    assert "could not be written" in caplog.text


def test_a_field_that_states_a_count_would_be_found(tmp_path, monkeypatch):
    """The comparison sees a count where a public field is said to be."""
    from securefl.federation.member.updates.local_dp import LocalDpUpdates

    case = next(case for case in QUICK if case.dp == "local")
    kept = LocalDpUpdates.spending

    def spending(self):
        found = kept(self)
        return type(found)(**{**vars(found), "steps": len(self._learner.data.examples)})

    monkeypatch.setattr(LocalDpUpdates, "spending", spending)
    with pytest.raises(AssertionError, match="no customer"):
        compare(case, ("no customer",), tmp_path)
