"""The keys that members advertise once a session, and the list in which each learns the others'."""

import hmac

from securefl_protocols.primitives.errors import RemoteProtocolError, TooFewSurvivors
from securefl_protocols.primitives.x25519 import check_public_key
from securefl_protocols.session.dropouts import DropoutReason, Refused
from securefl_protocols.session.graph_draw import draw_commitment, graph_seed
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.wire.codec import Envelope, encode_coordinator, signature_of
from securefl_protocols.wire.messages import (
    AdvertiseKeys,
    CommittedKeyList,
    CommittedKeys,
    GraphDraw,
    KeyList,
    MemberMessage,
    Reveal,
)
from securefl_protocols.wire.roster import members_to_bits
from securefl_protocols.wire.signed_statements import check_signature


class AdvertisedKeys:
    """The key pairs of one session, as the coordinator collects and relays them.

    Attributes:
        plan: The plan of the session.
        by_member: The accepted advertisements.
    """

    def __init__(self, plan: SessionPlan) -> None:
        """Begin without keys.

        Args:
            plan: The plan of the session.
        """
        self.plan = plan
        self.by_member: dict[int, AdvertiseKeys] = {}
        self._known: set[bytes] = set()
        self._entries: dict[int, bytes] = {}
        self._revealed: dict[int, Reveal] = {}

    def accept(self, member: int, message: AdvertiseKeys) -> None:
        """Accept the keys of a member whose signature was checked.

        Raises:
            Refused: A key was advertised before, or the two are the same.
            RemoteProtocolError: A key is not canonical, or a point of low order.
        """
        new = {message.encryption, message.masking}
        if len(new) < 2 or new & self._known:
            raise Refused(DropoutReason.MALFORMED, "the advertised keys are not new")
        for key in new:
            # One member with a key that the others refuse would end the session of them all.
            check_public_key(key, peer=member)
        self._known |= new
        self.by_member[member] = message

    def key_lists(self, signed: dict[int, bytes]) -> dict[int, bytes]:
        """Return the list of keys for each member of the cohort, the same bytes for all.

        Args:
            signed: The messages of the cohort, as they were received. Their signatures go into
                the list, because no member takes a key on the coordinator's word.
        """
        bits = members_to_bits(signed, self.plan.members)
        self._entries = {
            member: keys.encryption
            + keys.masking
            + signature_of(signed[member])
            + (keys.commitment if isinstance(keys, CommittedKeys) else b"")
            for member, keys in self.by_member.items()
        }
        kind = CommittedKeyList if self.plan.awaits_draw else KeyList
        return dict.fromkeys(signed, encode_coordinator(kind(bits, self._entries)))

    def take_reveal(self, member: int, message: Reveal, opening: bytes) -> None:
        """Take a member's value in the draw, and the boxes of the one that deals.

        Args:
            member: Who revealed it.
            message: What it revealed.
            opening: 32 bytes, the context that the session was opened under.

        Raises:
            Refused: The value is not the one committed to, or the boxes are not due.
        """
        others = self._entries.keys() - {member}
        if message.boxes.keys() != (others if member == self._dealer else set()):
            raise Refused(DropoutReason.MALFORMED, "the boxes are not those of the dealer")
        expected = draw_commitment(opening, member, message.value)
        if not hmac.compare_digest(expected, self._entries[member][-len(expected) :]):
            raise Refused(DropoutReason.BAD_VALUE, "the value is not the one committed to")
        self._revealed[member] = message

    def check_signature(
        self,
        envelope: Envelope,
        message: MemberMessage,
        digest: bytes,
        context: bytes,
        identity: bytes,
    ) -> None:
        """Check a message's signature under the keys that its sender advertised.

        Args:
            envelope: What stands around it.
            message: The message.
            digest: SHA-256 of its body.
            context: 32 bytes that the coordinator computed.
            identity: The sender's pinned Ed25519 key.

        Raises:
            Refused: It does not fit.
        """
        sender = envelope.sender
        keys = message if isinstance(message, AdvertiseKeys) else self.by_member[sender]
        try:
            check_signature(
                envelope.kind,
                envelope.signature,
                digest,
                context=context,
                sender=sender,
                session_key=keys.encryption,
                identity=identity,
            )
        except RemoteProtocolError as error:
            raise Refused(DropoutReason.BAD_SIGNATURE, str(error)) from error

    def draw(self, opening: bytes) -> tuple[bytes, dict[int, bytes]]:
        """Return the seed of the graph, and the message in which each member learns it.

        Raises:
            TooFewSurvivors: A value is missing. A seed of those that are there would let the last
                to reveal choose between two graphs.
        """
        if missing := sorted(self._entries.keys() - self._revealed.keys()):
            raise TooFewSurvivors(f"members {missing} did not reveal; open another session")
        values = {member: message.value for member, message in self._revealed.items()}
        boxes = self._revealed[self._dealer].boxes
        told = {
            member: encode_coordinator(GraphDraw(values, boxes.get(member, b"")))
            for member in values
        }
        return graph_seed(opening, self._entries, values), told

    @property
    def _dealer(self) -> int:
        return min(self._entries)
