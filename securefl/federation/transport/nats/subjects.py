"""Subjects, streams and consumers of a consortium on a NATS broker, and their permissions.

The coordinator creates the streams. A member dials out, pulls from its own consumer, and publishes
to its own subjects; `member_rights` is all that a broker has to allow it.

A stream keeps a message until its reader has acknowledged it (work-queue retention), and readers
acknowledge what is on their own disks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nats.js.api import ConsumerConfig, StreamConfig

CHUNK_BYTES = 4 << 20
"""Largest part of a message; a broker's `max_payload` is `MAX_PAYLOAD`, which leaves room for
headers."""
MAX_PAYLOAD = 8 << 20
ACK_SECONDS = 3.0
"""Seconds without a claim of the reader after which a message is delivered again."""
DUPLICATE_SECONDS = 3600.0
"""Seconds within which a message that is published twice is stored once."""
COORDINATOR = "coordinator"
"""Name of the coordinator's consumer and inbox; no member name collides with it in a subject."""


@dataclass(frozen=True)
class Permissions:
    """The permissions of a user of the broker.

    Attributes:
        publish: Subjects that it may publish to.
        subscribe: Subjects that it may subscribe to.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """The names of one consortium on the broker.

    Attributes:
        consortium: Identifies it there: letters, digits and hyphens.
    """

    consortium: str

    def to_member(self, member: str) -> str:
        """Return the subject of the coordinator's messages to a member."""
        return f"securefl.{self.consortium}.to.{token(member)}"

    def from_member(self, member: str) -> str:
        """Return the subject of a member's messages to the coordinator."""
        return f"securefl.{self.consortium}.from.{token(member)}"

    def beat(self, member: str) -> str:
        """Return the subject of a member's heartbeats, which are not stored."""
        return f"securefl.{self.consortium}.beat.{token(member)}"

    @property
    def beats(self) -> str:
        """Subject of all heartbeats."""
        return f"securefl.{self.consortium}.beat.*"

    @property
    def down(self) -> str:
        """Stream of the coordinator's messages."""
        return f"securefl-{self.consortium}-down"

    @property
    def up(self) -> str:
        """Stream of the members' messages."""
        return f"securefl-{self.consortium}-up"

    def inbox(self, party: str) -> str:
        """Return the prefix of a party's reply subjects."""
        return f"_INBOX.securefl.{self.consortium}.{token(party)}"

    def streams(self) -> list[StreamConfig]:
        """Return both streams, kept on the broker's disk."""
        return [
            _stream(self.down, f"securefl.{self.consortium}.to.*"),
            _stream(self.up, f"securefl.{self.consortium}.from.*"),
        ]

    def member_consumer(self, member: str) -> ConsumerConfig:
        """Return the consumer through which a member reads."""
        return _consumer(token(member), self.to_member(member))

    def coordinator_consumer(self) -> ConsumerConfig:
        """Return the consumer through which the coordinator reads."""
        return _consumer(COORDINATOR, f"securefl.{self.consortium}.from.*")

    def member_rights(self, member: str) -> Permissions:
        """Return a member's permissions; none of them reaches another member."""
        name = token(member)
        return Permissions(
            publish=(
                self.from_member(member),
                self.beat(member),
                f"$JS.API.CONSUMER.MSG.NEXT.{self.down}.{name}",
                f"$JS.ACK.{self.down}.{name}.>",
            ),
            subscribe=(f"{self.inbox(member)}.>",),
        )

    def coordinator_rights(self) -> Permissions:
        """Return the coordinator's permissions."""
        streams = (self.down, self.up)
        verbs = ("STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "STREAM.PURGE", "STREAM.DELETE")
        api = [f"$JS.API.{verb}.{stream}" for verb in verbs for stream in streams]
        api += [
            f"$JS.API.CONSUMER.{verb}.{stream}.>"
            for verb in ("CREATE", "DURABLE.CREATE", "INFO")
            for stream in streams
        ]
        return Permissions(
            publish=(
                f"securefl.{self.consortium}.to.*",
                "$JS.API.INFO",
                *api,
                f"$JS.API.CONSUMER.MSG.NEXT.{self.up}.{COORDINATOR}",
                f"$JS.ACK.{self.up}.{COORDINATOR}.>",
            ),
            subscribe=(f"{self.inbox(COORDINATOR)}.>", self.beats),
        )


def token(name: str) -> str:
    """Return a party's name as one token of a subject."""
    # A dot separates tokens. No name has an equals sign, so no two names have the same token.
    return name.replace(".", "=")


def _stream(name: str, subject: str) -> StreamConfig:
    from nats.js import api

    return api.StreamConfig(
        name=name,
        subjects=[subject],
        retention=api.RetentionPolicy.WORK_QUEUE,
        storage=api.StorageType.FILE,
        duplicate_window=DUPLICATE_SECONDS,
    )


def _consumer(name: str, subject: str) -> ConsumerConfig:
    from nats.js import api

    return api.ConsumerConfig(
        durable_name=name,
        filter_subject=subject,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=ACK_SECONDS,
        max_deliver=-1,
    )
