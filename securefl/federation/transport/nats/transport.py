"""The coordinator's end on a broker: what listens to the members, and watches the broker."""

from __future__ import annotations

import contextlib
from typing import cast

from securefl.federation.transport.base import EngineError
from securefl.federation.transport.journalled import JournalledTransport
from securefl.federation.transport.nats.connection import NatsClient
from securefl.federation.transport.nats.heartbeats import Heartbeats
from securefl.federation.transport.nats.lease import Lease
from securefl.federation.transport.nats.store_watch import StoreWatch, purge
from securefl.federation.transport.nats.stream_repair import StreamRepair
from securefl.federation.transport.nats.subjects import COORDINATOR, token

_PURGE_SECONDS = 5.0


class NatsTransport(JournalledTransport):
    """What a NATS broker carries, in a stream for each member and direction."""

    def _listen(self) -> None:
        layout, link = self._run.layout, cast("NatsClient", self._link)
        Lease(link, layout.lease(COORDINATOR)).take()
        names = list(self._run.members)
        store = StoreWatch(link, layout, names, self._renewed.set)
        link.run(store.make())
        link.spawn(store.watch())
        link.spawn(StreamRepair(link, layout, names, store, self._renewed.set).watch())
        Heartbeats(self._keys, self._run.members, self.watch, self._quotas).listen(link, layout)
        for name in names:
            link.read(layout.up(name), token(name), self._reader(name), self._quotas[name])

    def _withdraw(self, party: str) -> None:
        link = cast("NatsClient", self._link)
        with contextlib.suppress(EngineError):  # a broker that cannot delete stops nobody
            link.run(purge(link, self._run.layout.down(party)), _PURGE_SECONDS)
