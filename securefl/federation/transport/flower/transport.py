"""The coordinator's `Transport` over a grid of Flower."""

from __future__ import annotations

from typing import cast

from securefl.federation.transport.flower.grid_link import GridLink, Listener
from securefl.federation.transport.nats.transport import JournalledTransport


class GridTransport(JournalledTransport):
    """What a grid of Flower carries; a node that is online is a sign of life of its member."""

    def _listen(self) -> None:
        readers = {name: self._reader(name) for name in self._run.members}
        listener = Listener(readers, self._quotas, self.watch.heard)
        cast("GridLink", self._link).listen(self._keys, listener)

    def _withdraw(self, party: str) -> None:
        cast("GridLink", self._link).withdraw(party)
