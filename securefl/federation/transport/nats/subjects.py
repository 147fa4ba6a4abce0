"""Subjects, streams and consumers of a consortium on a NATS broker, and their permissions.

The coordinator creates the streams. A member dials out, pulls from its own consumer, and publishes
to its own subjects; `member_services` is all that a broker has to allow it.

Each party is in an account of its own on the broker, and the streams are in the coordinator's. A
member reaches what `member_services` lists as imported services and nothing else: not in the
subject of a message, and not in its reply subject either, which the broker replaces by one of its
own where a message changes accounts. With permissions alone a reply subject is not checked, and the
broker would execute what it names with its own rights.

A stream keeps a message until its reader has acknowledged it (work-queue retention), and readers
acknowledge what is on their own disks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nats.js.api import ConsumerConfig, StreamConfig

CHUNK_BYTES = 4 << 20
"""Largest part of a message; a broker's `max_payload` is `MAX_PAYLOAD`, which leaves room for
headers."""
MAX_PAYLOAD = CHUNK_BYTES + (64 << 10)
LARGEST_MESSAGE = 1 << 30
"""Bytes: the masked update of a hundred million coordinates has 800 MB."""
MOST_STORED = 5 * LARGEST_MESSAGE // CHUNK_BYTES
"""Parts that wait on one subject; the broker refuses more of its sender, and takes the others'.

Room for as many incomplete messages as a reader keeps of a sender, and one more.
"""
ACK_SECONDS = 3.0
"""Seconds without a claim of the reader after which a message is delivered again."""
DUPLICATE_SECONDS = 120.0
"""Seconds within which a message that is published twice is stored once.

Twice as long as a sender waits for an answer. The broker remembers all ids of that time, and their
sender chooses how long an id is; what is stored twice costs its reader nothing but a strike.
"""
STREAM_NAMES = "$JS.API.STREAM.NAMES"
"""Subject of the question which streams there are: of the account of who asks."""
COORDINATOR = "coordinator"
"""Name of the coordinator's inbox and account; no member name collides with it in a subject."""


@dataclass(frozen=True)
class Permissions:
    """The permissions of a user of the broker.

    Attributes:
        publish: Subjects that it may publish to.
        subscribe: Subjects that it may subscribe to.
        answers: Whether it may answer each message that it receives, once.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool = False


@dataclass(frozen=True)
class Service:
    """A subject of the coordinator's account that one member may send requests to.

    Attributes:
        subject: The subject.
        many: Whether one request has several answers.
        seconds: How long the broker remembers where an answer goes to, if there is none.
    """

    subject: str
    many: bool = False
    seconds: float = 60.0


@dataclass(frozen=True)
class Layout:
    """The names of one consortium on the broker.

    Attributes:
        consortium: Identifies it there: letters, digits and hyphens.
    """

    consortium: str

    @property
    def messages(self) -> str:
        """Pattern of the subjects of all messages, in both directions."""
        return f"securefl.{self.consortium}.>"

    def to_member(self, member: str) -> str:
        """Return the subject of the coordinator's messages to a member."""
        return f"securefl.{self.consortium}.to.{token(member)}"

    def from_member(self, member: str) -> str:
        """Return the subject of a member's messages to the coordinator."""
        return f"securefl.{self.consortium}.from.{token(member)}"

    def beat(self, member: str) -> str:
        """Return the subject of a member's heartbeats, which are not stored."""
        return f"securefl.{self.consortium}.beat.{token(member)}"

    def down(self, member: str) -> str:
        """Stream of the coordinator's messages to a member."""
        return f"securefl-{self.consortium}-down-{token(member)}"

    def up(self, member: str) -> str:
        """Stream of a member's messages; one each, or a flood would keep the others' waiting."""
        return f"securefl-{self.consortium}-up-{token(member)}"

    def inbox(self, party: str) -> str:
        """Return the prefix of a party's reply subjects."""
        return f"_INBOX.securefl.{self.consortium}.{token(party)}"

    def lease(self, party: str) -> str:
        """Return the subject on which a party's processes hear of each other."""
        return f"{self.inbox(party)}.lease"

    def streams(self, member: str) -> list[StreamConfig]:
        """Return both streams of a member, kept on the broker's disk."""
        return [
            _stream(self.down(member), self.to_member(member)),
            _stream(self.up(member), self.from_member(member)),
        ]

    def member_consumer(self, member: str) -> ConsumerConfig:
        """Return the consumer through which a member reads."""
        return _consumer(token(member), self.to_member(member))

    def coordinator_consumer(self, member: str) -> ConsumerConfig:
        """Return the consumer through which the coordinator reads a member's messages.

        One a member: what a reader has not acknowledged is limited by consumer, and a member that
        fills its own must not stop the others.
        """
        return _consumer(token(member), self.from_member(member))

    def member_services(self, member: str) -> tuple[Service, ...]:
        """Return all that a member may send requests to; none of it reaches another member."""
        name = token(member)
        return (
            Service(self.from_member(member)),
            # Answered at once or never; a sign of life that is lost is followed by the next one.
            Service(self.beat(member), seconds=2.0),
            Service(
                f"$JS.API.CONSUMER.MSG.NEXT.{self.down(member)}.{name}", many=True, seconds=15.0
            ),
            Service(f"$JS.ACK.{self.down(member)}.{name}.>", seconds=1.0),
        )

    def member_rights(self, member: str) -> Permissions:
        """Return a member's permissions inside its account."""
        return Permissions(
            publish=(
                *(service.subject for service in self.member_services(member)),
                self.lease(member),
            ),
            subscribe=(f"{self.inbox(member)}.>",),
        )

    def coordinator_rights(self, members: Iterable[str]) -> Permissions:
        """Return the coordinator's permissions."""
        names = tuple(members)
        streams = [stream(name) for name in names for stream in (self.down, self.up)]
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
                self.lease(COORDINATOR),
                "$JS.API.INFO",
                STREAM_NAMES,
                *api,
                *(f"$JS.API.CONSUMER.MSG.NEXT.{self.up(name)}.*" for name in names),
                *(f"$JS.ACK.{self.up(name)}.>" for name in names),
            ),
            subscribe=(f"{self.inbox(COORDINATOR)}.>", self.beat("*")),
            answers=True,
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
        max_msgs_per_subject=MOST_STORED,
        discard=api.DiscardPolicy.NEW,
        discard_new_per_subject=True,
        max_msg_size=MAX_PAYLOAD,
    )


def _consumer(name: str, subject: str) -> ConsumerConfig:
    from nats.js import api

    return api.ConsumerConfig(
        durable_name=name,
        filter_subject=subject,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=ACK_SECONDS,
        max_deliver=-1,
        max_ack_pending=MOST_STORED,
    )
