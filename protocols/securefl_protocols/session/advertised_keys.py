"""The keys that members advertise once a session, and the list in which each learns the others'."""

from securefl_protocols.primitives.x25519 import check_public_key
from securefl_protocols.session.dropouts import DropoutReason, Refused
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.wire.codec import encode_coordinator, signature_of
from securefl_protocols.wire.messages import AdvertiseKeys, KeyList
from securefl_protocols.wire.roster import members_to_bits


class AdvertisedKeys:
    """The key pairs of one session, as the coordinator collects and relays them.

    Attributes:
        by_member: The accepted advertisements.
    """

    def __init__(self, plan: SessionPlan) -> None:
        """Begin without keys.

        Args:
            plan: The plan of the session.
        """
        self._plan = plan
        self.by_member: dict[int, AdvertiseKeys] = {}
        self._known: set[bytes] = set()

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
        """Return the KeyList message of each member of the cohort.

        Args:
            signed: The AdvertiseKeys messages of the cohort, as they were received. Their
                signatures go into the lists, because no member takes a key on the
                coordinator's word.
        """
        bits = members_to_bits(signed, self._plan.members)
        rows = {
            member: keys.encryption + keys.masking + signature_of(signed[member])
            for member, keys in self.by_member.items()
        }
        return {
            member: encode_coordinator(
                KeyList(
                    bits,
                    {
                        peer: rows[peer]
                        for peer in {*self._plan.holders(member), member} & set(rows)
                    },
                )
            )
            for member in signed
        }
