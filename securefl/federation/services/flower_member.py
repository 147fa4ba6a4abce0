"""A member behind a SuperNode of Flower: the process with its key, tables, ledger and journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.member import MemberPaths, serve
from securefl.federation.services.member_presence import Carrier, Presence
from securefl.federation.transport.flower.socket_link import SocketLink
from securefl.federation.transport.nats.chunking import Reassembler

if TYPE_CHECKING:
    from securefl.federation.member.own_figures import OwnFigures


class RelayedPresence(Presence):
    """The presence of a member whose questions come over a socket of its machine."""

    def _listen(self, sender: Reassembler) -> None:
        self._socket.listen(sender, self.keys)

    def served(self, question: str) -> None:
        """See `Presence.served`: the SuperNode waits no longer, also for what has no answer."""
        self._socket.settle(question)

    @property
    def _socket(self) -> SocketLink:
        return cast("SocketLink", self.link)


def serve_relayed(context: ConnectionContext, paths: MemberPaths, path: Path) -> OwnFigures | None:
    """Take part in a run, with a SuperNode in the place of the broker; otherwise as `serve`.

    Args:
        context: The agreement and the member's key.
        paths: Its own files.
        path: The socket to make, which the SuperNode's `--node-config` names.
    """
    return serve(context, paths, Carrier(lambda faults: SocketLink(path, faults), RelayedPresence))
