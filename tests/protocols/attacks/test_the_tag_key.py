"""A member that colludes gives the others different tag keys, to single one of them out.

With keys of two kinds in one round, all is known of the sum of the tags but a number that
depends on the input of the singled-out member alone: 89 bits of it a round.
"""

from dataclasses import replace

import numpy as np
import pytest

from securefl_protocols.session import checksum as tag_module
from securefl_protocols.session.checksum import (
    MODULUS,
    ChecksumKey,
    checksum_from_bytes,
    mask_checksum,
)
from securefl_protocols.session.client_round import ClientRound
from securefl_protocols.session.dropouts import DropoutReason, ServerStep
from securefl_protocols.session.masking import pairwise_sign, self_mask_key
from securefl_protocols.session.replay import replay
from securefl_protocols.session.server_round import ServerRound
from securefl_protocols.session.unmasking import rebuild, revealed_shares
from securefl_protocols.wire.roster import members_to_bits
from support.session_driver import (
    MODEL,
    Consortium,
    Exchange,
    body_of,
    changed,
    inputs,
    only,
    plain_sum,
    small_plan,
    told,
)

VICTIM, COLLUDER, OTHERS = 0, 4, (1, 2, 3)
OTHER_CONTRIBUTION = b"\x07" * 32


class Coalition:
    """A coordinator and one member; the coordinator sums whatever the tag keys are.

    The colluder has masked and signed like everybody, and then falls silent, so that the
    coordinator has its keys, its contributions and the Unmask messages of the others.
    """

    def __init__(self, monkeypatch, *, equivocate):
        self.plan = small_plan(5)
        self.consortium = Consortium(self.plan)
        self.exchange = Exchange.of(self.consortium)
        self.vectors = inputs(self.plan)
        monkeypatch.setattr(ServerRound, "agreeing", lambda _: frozenset((VICTIM, *OTHERS)))
        self.exchange.advertise()
        if equivocate:
            deal_otherwise_to_the_victim(monkeypatch)
        self.exchange.begin(self.vectors)
        if not equivocate:
            self.exchange.tamper = only(VICTIM, hide_the_colluder)
        self.exchange.step()
        self.exchange.tamper = lambda _, message: message
        colluder = self.exchange.clients[COLLUDER]
        self.context = self.consortium.context.of_round(1, MODEL)
        self.pairs = colluder._keystore.pair_keys(self.context)
        common = {d: dealt.contribution for d, dealt in colluder._round._dealt.items()}
        singled_out = common | {COLLUDER: OTHER_CONTRIBUTION}
        if not equivocate:
            del singled_out[COLLUDER]
        self.key = ChecksumKey(common, context=self.context)
        self.victims_key = ChecksumKey(singled_out, context=self.context)
        self.hidden_from_the_victim = not equivocate

    def seen(self):
        """Returns what is left of the sum of the tags when all that is known is removed."""
        exchange = self.exchange
        sent = {i: body_of(m) for i, m in exchange.outbox.items() if i != COLLUDER}
        exchange.step(silent=[COLLUDER])
        exchange.step()
        revealed = {i: body_of(m).seed_shares for i, m in exchange.outbox.items()}
        seeds = rebuild(self.plan, revealed_shares(sent, revealed))
        total = 0
        for i, message in sent.items():
            masks = [(self_mask_key(seeds[i], context=self.context, member=i), -1)]
            if i != VICTIM or not self.hidden_from_the_victim:
                masks.append((self.pairs[i], -pairwise_sign(i, COLLUDER)))
            own = self.victims_key if i == VICTIM else self.key
            total += mask_checksum(checksum_from_bytes(message.tag), masks, check=own.check)
        pads = self.victims_key._pad(VICTIM) + sum(self.key._pad(i) for i in OTHERS)
        sum_of_inputs = plain_sum(self.vectors[i] for i in (VICTIM, *OTHERS))
        return (total - pads - self.key._weighted(sum_of_inputs)) % MODULUS

    def about(self, vector):
        """Returns the number that depends on the victim's input alone."""
        return (self.victims_key._weighted(vector) - self.key._weighted(vector)) % MODULUS


def deal_otherwise_to_the_victim(monkeypatch):
    deal = ClientRound._deal

    def equivocating(self, holder, dealt):
        if self._party.index == COLLUDER and holder == VICTIM:
            dealt = replace(dealt, contribution=OTHER_CONTRIBUTION)
        return deal(self, holder, dealt)

    monkeypatch.setattr(ClientRound, "_deal", equivocating)


def hide_the_colluder(message):
    """The coordinator says that the colluder did not share."""
    fields = told(message)
    deals = {dealer: row for dealer, row in fields.deals.items() if dealer != COLLUDER}
    left = members_to_bits((VICTIM, *OTHERS), 5)
    return changed(message, cohort=left, deals=deals)


@pytest.mark.parametrize("equivocate", [True, False], ids=["other contribution", "hidden sharer"])
def test_two_tag_keys_leak_a_number_of_one_input_where_masks_are_not_bound(monkeypatch, equivocate):
    # Control: the masks of the tags as they would be if they did not depend on the tag key.
    number = tag_module._mask_number
    monkeypatch.setattr(tag_module, "_mask_number", lambda key, _: number(key, b""))
    coalition = Coalition(monkeypatch, equivocate=equivocate)
    assert coalition.seen() == coalition.about(coalition.vectors[VICTIM])


@pytest.mark.parametrize("equivocate", [True, False], ids=["other contribution", "hidden sharer"])
def test_two_tag_keys_say_nothing_of_one_input(monkeypatch, equivocate):
    coalition = Coalition(monkeypatch, equivocate=equivocate)
    assert coalition.seen() != coalition.about(coalition.vectors[VICTIM])


def test_two_tag_keys_hide_the_sum_of_the_tags_behind_every_honest_pair():
    # What stays is the pairwise masks of the victim with each honest member, under two checks.
    plan = small_plan(5)
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise()
    context = Consortium(plan).context.of_round(1, MODEL)
    pairs = exchange.clients[VICTIM]._keystore.pair_keys(context)
    for peer in OTHERS:
        mine = mask_checksum(0, [(pairs[peer], 1)], check=b"v" * 32)
        theirs = mask_checksum(0, [(pairs[peer], -1)], check=b"o" * 32)
        assert (mine + theirs) % MODULUS
        assert not (mine + mask_checksum(0, [(pairs[peer], -1)], check=b"v" * 32)) % MODULUS


def test_two_tag_keys_are_noticed_before_anything_is_unmasked(monkeypatch):
    plan = small_plan(5, rounds=2)
    consortium = Consortium(plan)
    exchange = Exchange.of(consortium)
    vectors = inputs(plan)
    exchange.advertise()
    with monkeypatch.context() as patch:
        deal_otherwise_to_the_victim(patch)
        exchange.begin(vectors)
    result = exchange.finish()
    assert result.survivors == (1, 2, 3, 4)
    assert np.array_equal(result.total, plain_sum(vectors[1:]))
    drop = exchange.server.dropouts[0]
    assert (drop.member, drop.step) == (VICTIM, ServerStep.MASK)
    assert drop.reason is DropoutReason.OTHER_TAG_KEY
    assert all(exchange.results[i].verified for i in result.survivors)
    replayed = replay(
        exchange.server.transcript(),
        plan=plan,
        roster=consortium.roster,
        context=consortium.context,
        model=MODEL,
    )
    assert np.array_equal(replayed.total, result.total)
    # The victim did nothing wrong and is back in the next round.
    exchange.begin(vectors, 2)
    assert exchange.finish().survivors == (0, 1, 2, 3, 4)


def test_check_says_whether_two_keys_are_the_same_and_not_which():
    contributions = {0: b"k" * 32, 1: b"l" * 32}
    key = ChecksumKey(contributions, context=bytes(32))
    assert key.check == ChecksumKey(dict(contributions), context=bytes(32)).check
    assert key.check != key._key
    others = [
        ChecksumKey(contributions | {1: b"m" * 32}, context=bytes(32)),
        ChecksumKey({0: b"k" * 32}, context=bytes(32)),
        ChecksumKey(contributions, context=b"c" * 32),
    ]
    assert len({key.check, *(other.check for other in others)}) == 4
