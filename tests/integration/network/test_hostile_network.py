"""The hostile coordinator again, behind a real broker: members are processes of their own."""

from contextlib import ExitStack, closing

import pytest

from securefl.consortium.ledger.hash_chain import read_entry
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.federation import messages as m
from securefl.federation.aggregation.session_parameters import answer_sizes
from securefl.federation.member.answers import Protection
from securefl.federation.scores.exact import ExactLayout
from securefl.federation.transport.journalled import COORDINATOR_NAME
from securefl.federation.transport.liveness import LivenessTracker
from securefl.federation.transport.nats.journal import CoordinatorJournal
from securefl.federation.transport.nats.transport import NatsTransport
from securefl.federation.transport.session_keys import RunKeys
from securefl.federation.transport.timeouts import TimeoutPolicy
from securefl.tasks.registry import create_task
from securefl.tasks.served.starting import starting_model
from support.consortium_processes import found, life_of_member, open_broker
from support.hostile import HostileCoordinator, check_against_table
from support.nats_cluster import PROCESSES, start_processes
from support.small_runs import NETWORK_MEMBERS as NAMES
from support.small_runs import network_config as small

BUDGET = {"dp": "distributed", "epsilon": 4.0, "delta": 1e-3, "expected_batch": 20.0}


def play(village):
    """Ask everything over the broker, then release the members; returns the coordinator."""
    context = village.context("hub")
    config, facts = context.config, context.facts.content
    place = village.folder / "hostile"
    with ExitStack() as stack:
        journal = stack.enter_context(closing(CoordinatorJournal(place)))
        keys = RunKeys(place, context.key, context.run.id, COORDINATOR_NAME)
        stack.enter_context(closing(keys))
        link = stack.enter_context(context.connected())
        patience = TimeoutPolicy(tick=0.01, silence=300.0, least=300.0)
        task = create_task(config)
        start, layout = starting_model(config, task, facts), ExactLayout(task.scored_metrics)
        transport = NatsTransport(
            link,
            context.run,
            keys,
            journal=journal,
            timeouts=patience,
            watch=LivenessTracker(),
            sizes=answer_sizes(context.consortium, len(start)),
        )
        transport.begin_passing()
        coordinator = HostileCoordinator(transport, context.consortium, start, layout)
        coordinator.play()
        coordinator.exchange.replies(dict.fromkeys(NAMES, m.Shutdown()))
        link.flush()
    return coordinator


@pytest.mark.slow
@pytest.mark.parametrize("protection", [Protection.MASKED, Protection.MASKED_BUDGET])
def test_hostile_coordinator_over_a_network(tmp_path, protection):
    """Every question in every phase: what was answered equals the table, and no reply is a score.

    The victim's own figures are in its folder afterwards, whatever it was asked.
    """
    changes = {"privacy": BUDGET} if protection is Protection.MASKED_BUDGET else {}
    village = found(tmp_path / "village", small("secure", **changes), NAMES)
    start_processes()
    with ExitStack() as stack:
        stack.enter_context(open_broker(village))
        lives = [
            PROCESSES.Process(target=life_of_member, args=(village, name), daemon=True)
            for name in NAMES
        ]
        for life in lives:
            life.start()
            stack.callback(life.kill)
        coordinator = play(village)
        for life in lives:
            life.join(60)
            assert life.exitcode == 0
    check_against_table(coordinator, protection)
    kinds = {type(reply) for _, reply in coordinator.replies}
    assert not kinds & {m.Scores, m.LocalOnlyResult, m.Update}
    own = village.folder / coordinator.victim
    assert len(list(own.rglob("figures.json"))) == 1
    book = PrivacyLedger(book_path(own / "books", coordinator.victim))
    (row,) = book.runs()
    events = [read_entry(data).entry.event for data in book.entries(row.run)]
    refused = [event.question for event in events if event.kind == "refused-question"]
    assert len(refused) == len(set(refused)) > 10
