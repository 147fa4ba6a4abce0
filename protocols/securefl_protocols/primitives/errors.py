"""What can go wrong in a session, and who is to blame for it.

The split follows h11: a `LocalProtocolError` says that we called something wrongly, a
`RemoteProtocolError` says that a peer sent something that the protocol forbids. Nothing
that arrives from outside may raise anything else.
"""


class ProtocolError(Exception):
    """The session cannot do what was asked of it."""


class LocalProtocolError(ProtocolError):
    """We broke the protocol: a call out of order, or an argument that is not allowed."""


class RangeError(LocalProtocolError):
    """A value lies outside the range that the members agreed on; it is never clipped."""


class PlanError(LocalProtocolError):
    """The parameters of a session contradict each other or are not safe."""


class RemoteProtocolError(ProtocolError):
    """A peer broke the protocol.

    Attributes:
        peer: Index of the member that is to blame, or None where that is not known (the
            coordinator, or bytes that name nobody).
    """

    def __init__(self, message: str, peer: int | None = None) -> None:
        super().__init__(message)
        self.peer = peer


class DisputedPair(RemoteProtocolError):
    """Two members say different things of what they share; one of them lied.

    Attributes:
        peers: Both, the honest one among them.
    """

    def __init__(self, message: str, peers: tuple[int, int]) -> None:
        super().__init__(message)
        self.peers = peers


class ChecksumFailed(RemoteProtocolError):
    """The announced sum is not that of the inputs that the survivors signed.

    Either the coordinator announced another sum, which the replayed transcript shows, or one of
    the survivors made its checksum wrong, and it cannot be seen which
    (docs/specification/protocol.md).

    Attributes:
        survivors: Whose inputs were to be in the sum. A round that repeats this one with the
            same inputs has the same survivors, or none.
    """

    def __init__(self, message: str, survivors: frozenset[int]) -> None:
        super().__init__(message)
        self.survivors = survivors


class TooFewSurvivors(ProtocolError):
    """Fewer members than the threshold are left, so there is no sum to be had."""
