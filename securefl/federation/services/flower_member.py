"""A member behind a SuperNode of Flower: the process with its key, tables, ledger and journal."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from securefl.federation.member.own_figures import OwnFigures
from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.member import MemberPaths, serve
from securefl.federation.services.member_process import MemberProcess
from securefl.federation.transport.flower.socket_link import SocketLink
from securefl.federation.transport.nats.chunking import Reassembler
from securefl.federation.transport.nats.consumer import Arrival


class RelayedMemberProcess(MemberProcess):
    """The loop of a member whose questions come over a socket of its machine."""

    def _listen(self, sender: Reassembler) -> None:
        self._socket = cast("SocketLink", self._end.link)
        self._socket.listen(sender, self._end.keys)

    def _serve(self, arrival: Arrival) -> None:
        super()._serve(arrival)
        self._socket.settle(arrival.note.id)


def serve_relayed(context: ConnectionContext, paths: MemberPaths, path: Path) -> OwnFigures | None:
    """Take part in a run, with a SuperNode in the place of the broker; otherwise as `serve`.

    Args:
        context: The agreement and the member's key.
        paths: Its own files.
        path: The socket to make, which the SuperNode's `--node-config` names.
    """
    return serve(context, paths, lambda faults: SocketLink(path, faults), RelayedMemberProcess)
