"""The coordinator's ear for heartbeats: what a member does now, and its key of the run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from securefl.federation.transport.liveness import LivenessTracker
from securefl.federation.transport.nats.chunking import BadPartError, Reassembler
from securefl.federation.transport.nats.connection import NatsClient, Part
from securefl.federation.transport.nats.coordinator_watch import PING
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.nats.subjects import Layout, token
from securefl.federation.transport.session_keys import RunKeys

BEAT = "beat"
"""Id of every heartbeat."""


class Heartbeats:
    """The heartbeats of all members; those of one never make room for another's.

    Args:
        keys: The coordinator's key of the run; takes those that the members announce.
        members: Name to public identity key.
        watch: The liveness of the members.
        quotas: Name to what the member may send that is of no use.
    """

    def __init__(
        self,
        keys: RunKeys,
        members: Mapping[str, bytes],
        watch: LivenessTracker,
        quotas: Mapping[str, Quota],
    ) -> None:
        self._keys, self._watch, self._quotas = keys, watch, quotas
        self._senders = {
            name: Reassembler(keys, name, identity) for name, identity in members.items()
        }

    def listen(self, link: NatsClient, layout: Layout) -> None:
        """Begin to listen."""
        for name, quota in self._quotas.items():
            link.listen_for_beats(layout.beat(name), partial(self.take, name), quota)

    def take(self, name: str, part: Part) -> None:
        """Take what arrived on a member's subject."""
        quota = self._quotas[name]
        if quota.reason:
            return
        if PING in part[0] and not part[1]:
            quota.strike(f"{name} asked whether the coordinator is there")
            return
        try:
            step = self._step_in(self._senders[name], part)
        except BadPartError as error:
            quota.strike(f"{error}; a heartbeat is dropped")
            return
        self._watch.heard(token(name), step)

    def _step_in(self, sender: Reassembler, part: Part) -> bytes:
        """Return the member's activity; empty where it had no key of ours to seal it for."""
        headers, content = part
        if not content:
            # Before a member knows our key, it only announces its own.
            self._keys.meet(sender.name, sender.announced(headers))
            return b""
        note = sender.only(headers, content)
        if note.id != BEAT:
            raise BadPartError(f"{sender.name} sent a message that is no heartbeat")
        return note.body
