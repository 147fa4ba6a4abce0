"""The coordinator's ear for heartbeats: what a member does now, and its key of the run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from securefl.federation.transport.liveness import LivenessTracker
from securefl.federation.transport.nats.chunking import Reassembler
from securefl.federation.transport.nats.connection import NatsClient, Part
from securefl.federation.transport.nats.coordinator_watch import PING
from securefl.federation.transport.nats.part_errors import BadPartError, OtherRunError
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.nats.subjects import Layout, token
from securefl.federation.transport.session_keys import RunKeys

BEAT = "beat"
"""Id of every heartbeat."""
_MOST, _WITHIN = 100, 10.0
"""Heartbeats of one member within so many seconds; a member sends 5, at its start up to 40."""


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
        self._watch, self._quotas = watch, quotas
        self._senders = {
            name: Reassembler(keys, name, identity) for name, identity in members.items()
        }
        self._counts = dict.fromkeys(members, (0.0, 0))
        self._elsewhere: set[str] = set()

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
        if self._in_haste(name):
            quota.strike(f"{name} sends heartbeats without end; one is dropped", len(part[1]))
            return
        try:
            step = self._step_in(self._senders[name], part)
        except OtherRunError as error:
            self._elsewhere.add(name)
            quota.other_run(error)
            self._watch.unusable(name, str(error))
            return
        except BadPartError as error:
            quota.strike(f"{error}; a heartbeat is dropped", len(part[1]))
            return
        if name in self._elsewhere:
            self._elsewhere.discard(name)
            self._watch.unusable(name, "")
        self._watch.heard(token(name), step)

    def _in_haste(self, name: str) -> bool:
        """Count a heartbeat, and return whether there are more than a member has to send."""
        (began, count), now = self._counts[name], time.monotonic()
        began, count = (now, 1) if now - began > _WITHIN else (began, count + 1)
        self._counts[name] = began, count
        return count > _MOST

    def _step_in(self, sender: Reassembler, part: Part) -> bytes:
        """Return the member's activity; empty where it had no key of ours to seal it for."""
        headers, content = part
        if not content:
            # Before a member knows our key, it only announces its own.
            sender.meet(sender.announced(headers))
            return b""
        note = sender.only(headers, content)
        if note.id != BEAT:
            raise BadPartError(f"{sender.name} sent a message that is no heartbeat")
        return note.body
