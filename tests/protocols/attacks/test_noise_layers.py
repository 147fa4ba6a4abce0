"""Taking back needless noise: what is opened, and who tries to open more."""

import hashlib
from dataclasses import replace

import pytest

from securefl_protocols.noise.layers import NoiseChain, UnopenableLayers, opened
from securefl_protocols.primitives.errors import (
    LocalProtocolError,
    PlanError,
    RemoteProtocolError,
    TooFewSurvivors,
)
from securefl_protocols.session.client import ClientState
from securefl_protocols.session.dropouts import DropoutReason, ServerStep
from securefl_protocols.session.replay import replay
from securefl_protocols.wire.signed_statements import signed_message
from support.session_driver import (
    Consortium,
    Exchange,
    body_of,
    chains,
    changed,
    inputs,
    layer_secret,
    only,
    small_plan,
    told,
)

PLAN = replace(small_plan(6, layered=True, min_members=4), threshold=4)
LAYERS = PLAN.layers


def session(plan=PLAN):
    consortium = Consortium(plan)
    exchange = Exchange.of(consortium)
    exchange.layers = chains(plan)
    return exchange, consortium


def begun(plan=PLAN):
    exchange, consortium = session(plan)
    exchange.advertise()
    exchange.begin(inputs(plan))
    return exchange, consortium


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_the_layers_of_members_that_did_not_drop_out_are_opened_and_no_others(missing):
    exchange, _ = session()
    result = exchange.run(inputs(PLAN), {ServerStep.MASK: range(missing)})
    for member in result.survivors:
        keys = NoiseChain(layer_secret(member, 0), LAYERS).keys()
        assert result.opened.get(member, ()) == keys[missing + 1 :]
    assert result.opened.keys() <= set(result.survivors)
    for heard in exchange.results.values():
        assert heard.opened == result.opened
        assert heard.verified


def test_a_replay_opens_the_same_layers():
    exchange, consortium = session()
    result = exchange.run(inputs(PLAN), {ServerStep.MASK: [3]})
    transcript = exchange.server.transcript()
    again = replay(
        transcript,
        plan=PLAN,
        roster=consortium.roster,
        context=consortium.context,
        model=transcript.round[1],
    )
    assert again.opened == result.opened
    assert len(again.opened) == 5


def test_a_link_says_nothing_of_the_layers_before_it():
    chain = NoiseChain(bytes(32), 3)
    keys = chain.keys()
    found = opened(chain.reveal(1), 2, 3, chain.anchor)
    assert found == keys[2:]
    assert len(set(keys)) == 4
    assert "bytes" not in repr(chain)


def test_a_reveal_asked_twice_for_two_survivor_sets_is_refused():
    exchange, consortium = begun()
    for _ in range(3):
        exchange.step()
    client = exchange.clients[0]
    assert client.state is ClientState.UNMASKED
    # The same share in another session, of which one more is said to be missing.
    again = Exchange.of(consortium)
    again.layers = exchange.layers
    again.advertise()
    again.begin(inputs(PLAN))
    again.step()
    again.step(silent=[5])
    with pytest.raises(LocalProtocolError, match="one set of survivors"):
        again.step()


def test_a_reveal_for_a_set_that_was_not_signed_is_refused():
    exchange, _ = begun()
    exchange.step()
    exchange.step()
    few = {}

    def tamper(index, message):
        del index
        few.update(told(message).signatures)
        return changed(message, signatures={i: few[i] for i in range(3)})

    exchange.tamper = tamper
    with pytest.raises(RemoteProtocolError, match="fewer neighbours signed"):
        exchange.step()
    assert exchange.outbox == {}


def test_one_who_is_told_a_smaller_set_reveals_nothing():
    """Told that one more is missing than the others signed, its layers would be opened too far."""
    exchange, _ = begun()
    exchange.step()

    def one_less(message):
        rows = dict(told(message).survivors)
        return changed(message, survivors={i: row for i, row in rows.items() if i != 5})

    exchange.tamper = only(0, one_less)
    exchange.step()
    exchange.tamper = lambda _, message: message
    told_next = exchange.server.receive(0, exchange.outbox[0])
    assert told_next.reason is DropoutReason.MALFORMED
    exchange.outbox.pop(0)
    exchange.step()
    assert exchange.clients[0].state is ClientState.SIGNED
    assert exchange.layers[0]._revealed is None


def resigned(exchange, index, **fields):
    """The member's message in the outbox with other fields, signed by itself."""
    client = exchange.clients[index]
    return signed_message(
        replace(body_of(exchange.outbox[index]), **fields),
        context=client._round._context,
        sender=index,
        session_key=client._keystore.encryption.public,
        identity=client._opening.party.identity,
    )


def test_a_member_that_reveals_a_wrong_key_is_named():
    exchange, _ = begun()
    for _ in range(3):
        exchange.step()
    drop = exchange.server.receive(2, resigned(exchange, 2, link=b"x" * 32))
    assert drop.reason is DropoutReason.BAD_LINK
    del exchange.outbox[2]
    exchange.step()
    assert set(exchange.server.result().opened) == {0, 1, 3, 4, 5}


def test_a_key_chosen_once_the_sum_is_known_does_not_fit_the_anchor():
    chain, other = NoiseChain(b"a" * 32, LAYERS), NoiseChain(b"b" * 32, LAYERS)
    with pytest.raises(RemoteProtocolError, match="not the promised one"):
        opened(other.reveal(0), 1, LAYERS, chain.anchor)


@pytest.mark.parametrize(
    ("member", "link", "reason"),
    [(1, b"x" * 32, "not the promised one"), (4, b"x" * 32, "nobody promised")],
)
def test_a_coordinator_that_makes_up_a_key_has_no_sum_believed(member, link, reason):
    exchange, _ = begun()
    exchange.step()
    exchange.step()
    exchange.step(silent=[4])  # survived, and signed nothing
    exchange.tamper = lambda _, message: changed(
        message, links=dict(sorted((dict(told(message).links) | {member: link}).items()))
    )
    with pytest.raises(RemoteProtocolError, match=reason):
        exchange.step()


def test_an_anchor_that_was_changed_on_its_way_is_not_signed():
    exchange, _ = begun()
    exchange.step()

    def another(message):
        rows = dict(told(message).survivors)
        return changed(message, survivors=rows | {0: rows[0][:32] + bytes(32)})

    exchange.tamper = only(0, another)
    with pytest.raises(RemoteProtocolError, match="our masked input was changed"):
        exchange.step()


def test_who_forgot_its_layers_reveals_none_and_the_round_goes_on():
    exchange, _ = session()
    exchange.layers[1] = UnopenableLayers(bytes(32))
    result = exchange.run(inputs(PLAN))
    assert set(result.opened) == {0, 2, 3, 4, 5}


def test_messages_of_the_other_kind_of_plan_are_refused():
    exchange, consortium = begun()
    exchange.step()
    plain = Exchange.of(Consortium(replace(PLAN, layers=0)))
    plain.advertise()
    plain.begin(inputs(PLAN))
    plain.step()
    drop = exchange.server.receive(0, plain.outbox[0])
    assert drop.reason is DropoutReason.MALFORMED
    drop = plain.server.receive(0, exchange.outbox[0])
    assert drop.reason is DropoutReason.MALFORMED
    del consortium


@pytest.mark.parametrize("layers", [{}, {"layers": 0}])
def test_an_input_without_layers_does_not_enter_a_plan_with_them(layers):
    plan = replace(PLAN, **layers)
    exchange, _ = session(plan)
    exchange.layers = {} if plan.layers else chains(PLAN)
    exchange.advertise()
    with pytest.raises(LocalProtocolError, match="layers"):
        exchange.begin(inputs(plan))


@pytest.mark.parametrize(
    "changes", [{"layers": 3}, {"layers": -1}, {"degree": 4, "threshold": 3}], ids=str
)
def test_plans_with_impossible_layers_are_refused(changes):
    with pytest.raises(PlanError):
        replace(PLAN, **changes)


def model_of(result):
    """The digest of what a member computes from a sum: with other noise taken back, another."""
    content = result.total.tobytes() + repr(sorted(result.opened.items())).encode()
    return hashlib.sha256(content).digest()


def shown_other_links(victims):
    """A round whose links are shown without those of one member to some; all take the sum."""
    plan = replace(small_plan(6, layered=True, min_members=4, rounds=4), threshold=4)
    exchange, _ = session(plan)
    exchange.advertise()
    exchange.begin(inputs(plan))
    for _ in range(3):
        exchange.step()

    def tamper(index, message):
        links = {peer: link for peer, link in told(message).links.items() if peer}
        return changed(message, links=links) if index in victims else message

    exchange.tamper = tamper
    exchange.step()
    exchange.tamper = lambda _, message: message
    assert all(result.verified for result in exchange.results.values())
    return exchange, {index: model_of(result) for index, result in exchange.results.items()}


def next_round(exchange, models, model):
    """The next round from one of the models; each member enters it from its own."""
    exchange.server.begin_round(2, model)
    vectors, layers = inputs(exchange.server.plan), chains(exchange.server.plan, 2)
    exchange.outbox = {
        i: client.begin_round(2, models[i], vectors[i], layers[i])
        for i, client in enumerate(exchange.clients)
    }
    return exchange.finish()


def test_noise_links_shown_differently_give_no_common_round():
    """Half of the members computed another model: neither half is enough for a sum."""
    exchange, models = shown_other_links({3, 4, 5})
    assert len(set(models.values())) == 2
    for model in set(models.values()):
        other, _ = shown_other_links({3, 4, 5})
        with pytest.raises(TooFewSurvivors):
            next_round(other, models, model)
    assert exchange.results[0].opened != exchange.results[3].opened


def test_noise_links_shown_differently_to_one_leave_it_out():
    """A coordinator that misleads one member loses it, and the others go on."""
    exchange, models = shown_other_links({5})
    result = next_round(exchange, models, models[0])
    assert result.survivors == (0, 1, 2, 3, 4)
    assert [d.reason for d in exchange.server.dropouts] == [DropoutReason.BAD_SIGNATURE]


def test_noise_links_shown_alike_control_give_a_common_round():
    exchange, models = shown_other_links(set())
    assert next_round(exchange, models, models[0]).survivors == tuple(range(6))
