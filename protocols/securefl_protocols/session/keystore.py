"""A member's keys of one session, and those of its neighbours once they are checked."""

from collections.abc import Mapping

from securefl_protocols.primitives.entropy import Entropy
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.session.masking import pairwise_mask_key


class PeerKeyStore:
    """Two own X25519 keys drawn for one session, and the secrets agreed with the neighbours.

    Attributes:
        encryption: Own key for sealed boxes.
        masking: Own key for pairwise masks.
        session_keys: The members' public encryption keys, own one included.
        checksum_secret: 32 bytes that all members of a sparse graph have, none otherwise.
    """

    def __init__(self, index: int, entropy: Entropy) -> None:
        """Draw both keys.

        Args:
            index: Index of the member.
            entropy: Source of the keys.
        """
        self.encryption = ExchangeKey.generate(entropy)
        self.masking = ExchangeKey.generate(entropy)
        self.session_keys: dict[int, bytes] = {index: self.encryption.public}
        self.checksum_secret = b""
        self._index = index
        self._box_secrets: dict[int, bytes] = {}
        self._pair_secrets: dict[int, bytes] = {}

    def __repr__(self) -> str:
        return f"PeerKeyStore(index={self._index}, peers={sorted(self._pair_secrets)})"

    def agree(self, peer: int, encryption: bytes, masking: bytes) -> None:
        """Agree with a neighbour, once a session.

        Args:
            peer: Index of the neighbour.
            encryption: Its 32-byte public encryption key.
            masking: Its 32-byte public masking key.

        Raises:
            RemoteProtocolError: A key is a point of low order.
        """
        self._box_secrets[peer] = self.encryption.shared_secret(encryption, peer=peer)
        self._pair_secrets[peer] = self.masking.shared_secret(masking, peer=peer)
        self.session_keys[peer] = encryption

    @property
    def peers(self) -> tuple[int, ...]:
        """The neighbours that advertised keys, ascending."""
        return tuple(sorted(self._pair_secrets))

    def box_secret(self, peer: int) -> bytes:
        """Return the secret that boxes to and from a neighbour are sealed with."""
        return self._box_secrets[peer]

    def pair_keys(self, context: bytes) -> Mapping[int, bytes]:
        """Return the keys of the pairwise masks of one round.

        Args:
            context: 32 bytes, the context of the round.
        """
        return {
            peer: pairwise_mask_key(secret, context=context, member=self._index, neighbour=peer)
            for peer, secret in self._pair_secrets.items()
        }
