"""How a member opens a session: its keys, the keys of all others, and the draw of the graph."""

from dataclasses import replace
from hashlib import sha256

from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.session.graph_draw import (
    checksum_secret,
    deal_secret,
    draw_commitment,
    draw_value,
    graph_seed,
    open_secret,
)
from securefl_protocols.session.keystore import PeerKeyStore
from securefl_protocols.session.party import Party
from securefl_protocols.wire.codec import encode_body
from securefl_protocols.wire.context import SessionContext
from securefl_protocols.wire.fields import Rows
from securefl_protocols.wire.messages import (
    AdvertiseKeys,
    CommittedKeys,
    GraphDraw,
    KeyList,
    MemberMessage,
    Reveal,
)
from securefl_protocols.wire.roster import members_from_bits
from securefl_protocols.wire.signed_statements import check_signature, signed_message


class ClientOpening:
    """What a member does and checks before the first round of a session.

    Attributes:
        party: The member; once the graph is drawn, with the plan that names it.
        context: Consortium, run and plan; the same.
        cohort: Who advertised keys, as the coordinator says and their signatures prove.
    """

    def __init__(self, party: Party, context: SessionContext, keystore: PeerKeyStore) -> None:
        """Begin with the plan as it was agreed.

        Args:
            party: The member.
            context: Consortium, run and plan.
            keystore: Its keys of the session.
        """
        self.party, self.context = party, context
        self.cohort: frozenset[int] = frozenset()
        self._keystore = keystore
        self._opening = b""
        self._entries: Rows = {}

    def advertise(self, number: int, model: bytes) -> bytes:
        """Return the first message: the keys, and where a graph is drawn the commitment."""
        self._opening = self.context.of_round(number, model)
        keys = self._keystore.encryption.public, self._keystore.masking.public
        return self._signed(self._advertised(*keys, self._commitment()))

    def _commitment(self) -> bytes:
        if not self.party.plan.awaits_draw:
            return b""
        value = draw_value(self._keystore.encryption, self._opening)
        return draw_commitment(self._opening, self.party.index, value)

    def on_keys(self, message: KeyList) -> list[bytes]:
        """Check who takes part, with which keys.

        Returns:
            The Reveal message where a graph is drawn, else nothing.

        Raises:
            RemoteProtocolError: A check fails.
        """
        plan, index = self.party.plan, self.party.index
        cohort = members_from_bits(message.cohort, plan.members)
        if index not in cohort:
            raise RemoteProtocolError("we are not in the cohort")
        if len(cohort) < plan.min_members:
            raise RemoteProtocolError("the cohort is smaller than the plan allows")
        if message.keys.keys() != cohort:
            raise RemoteProtocolError("the keys are not those of the members of the cohort")
        own = self._keystore.encryption.public + self._keystore.masking.public
        if message.keys[index][:64] != own or message.keys[index][128:] != self._commitment():
            raise RemoteProtocolError("our own keys were changed")
        for member, entry in message.keys.items():
            self._check_entry(member, entry)
        keys = [key for entry in message.keys.values() for key in (entry[:32], entry[32:64])]
        if len(set(keys)) != len(keys):
            raise RemoteProtocolError("two advertised keys are the same")
        self.cohort, self._entries = cohort, message.keys
        if plan.awaits_draw:
            return [self._reveal()]
        self._agree()
        return []

    def _check_entry(self, member: int, entry: bytes) -> None:
        message = self._advertised(entry[:32], entry[32:64], entry[128:])
        check_signature(
            type(message),
            entry[64:128],
            sha256(encode_body(message)).digest(),
            context=self._opening,
            sender=member,
            session_key=entry[:32],
            identity=self.party.roster.identities[member],
        )

    def _advertised(self, encryption: bytes, masking: bytes, commitment: bytes) -> AdvertiseKeys:
        if self.party.plan.awaits_draw:
            return CommittedKeys(encryption, masking, commitment)
        return AdvertiseKeys(encryption, masking)

    def _reveal(self) -> bytes:
        key, index = self._keystore.encryption, self.party.index
        others = {m: entry[:32] for m, entry in self._entries.items() if m != index}
        dealt = (
            deal_secret(key, self._opening, index, others, self.party.entropy)
            if index == min(self.cohort)
            else {}
        )
        return self._signed(Reveal(draw_value(key, self._opening), dealt))

    def on_draw(self, message: GraphDraw) -> None:
        """Compute the graph, take the secret of the checksums and agree with the neighbours.

        Raises:
            RemoteProtocolError: A check fails.
        """
        key, index, dealer = self._keystore.encryption, self.party.index, min(self.cohort)
        plan = self.party.plan.drawn(graph_seed(self._opening, self._entries, message.values))
        if bool(message.box) == (index == dealer):
            raise RemoteProtocolError("the dealer of the secret of the checksums has no box")
        self._keystore.checksum_secret = (
            checksum_secret(key, self._opening)
            if index == dealer
            else open_secret(
                key,
                self._opening,
                dealer=dealer,
                member=index,
                public=self._entries[dealer][:32],
                box=message.box,
            )
        )
        self.party = replace(self.party, plan=plan)
        self.context = replace(self.context, plan=plan.digest())
        self._agree()

    def _agree(self) -> None:
        plan, index = self.party.plan, self.party.index
        if len(plan.holders(index).keys() & self.cohort) < plan.threshold:
            raise RemoteProtocolError("fewer neighbours advertise keys than the threshold")
        for member in sorted(self.cohort.intersection(plan.neighbours(index))):
            entry = self._entries[member]
            self._keystore.agree(member, entry[:32], entry[32:64])

    def _signed(self, message: MemberMessage) -> bytes:
        return signed_message(
            message,
            context=self._opening,
            sender=self.party.index,
            session_key=self._keystore.encryption.public,
            identity=self.party.identity,
        )
