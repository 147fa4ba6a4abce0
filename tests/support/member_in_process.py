"""A member's whole process without a network: requests in, answers out, its files on disk."""

import dataclasses
import shutil

from securefl.consortium.ledger.journal_fence import fence_of
from securefl.federation import messages as m
from securefl.federation.member.journal import MemberJournal
from securefl.federation.services.member_process import (
    JournalMemory,
    MemberEnd,
    MemberProcess,
    QuestionEntropy,
)
from securefl.federation.transport.journalled import Run
from securefl.federation.transport.nats.chunking import Envelope
from securefl.federation.transport.nats.consumer import Arrival
from securefl.federation.transport.nats.subjects import Layout
from securefl.federation.transport.session_keys import RunKeys
from securefl_protocols.primitives.signing import SigningKey
from support.closing import closed_later
from support.rehearsal import RehearsingMember

RUN = Run(bytes(32), Layout("x"), {}, b"")
EPOCH = "00" * 8


class Outbox:
    """A link that keeps what is sent."""

    def __init__(self):
        self.sent = []

    def send(self, subject, note, keys):
        del subject, keys
        self.sent.append(note)


class ProcessParty:
    """A member in its process; it can be killed and started again at any moment.

    Args:
        folder: Of its journal.
        name: Its name.
        identity: Its identity key, 32 bytes.
        build: Makes the member, of its entropy and its memory; its ledger is kept elsewhere.
    """

    def __init__(self, folder, name, identity, build):
        self.folder, self.name, self.identity, self.build = folder, name, identity, build
        self.asked = 0
        self.start()

    def start(self):
        """Start from what is on the disk; at the first time that is nothing."""
        self.journal = closed_later(MemberJournal(self.folder, self.identity, RUN.id))
        entropy, memory = QuestionEntropy(), JournalMemory(self.journal)
        self.member = closed_later(self.build(entropy, memory))
        fence = getattr(self.member, "fence", None) or fence_of(self.member.ledger)
        keys = closed_later(RunKeys(self.folder, SigningKey(self.identity), RUN.id, self.name))
        self.outbox = Outbox()
        parts = keys, RUN, self.outbox, self.journal, entropy, memory, fence
        self.process = MemberProcess(MemberEnd(self.name, *parts), self.member)
        keys.close()

    def stop(self):
        """End without a word, as a killed process does; also where the start failed."""
        self.journal.close()
        self.member.close()

    def restart(self):
        self.stop()
        self.start()

    def handle(self, message):
        """Deliver a request and return its answer."""
        self.asked += 1
        note = Envelope("coordinator", self.name, f"{EPOCH}.1.{self.asked}", "", message)
        return [self.deliver(note).body]

    def deliver(self, note):
        """Deliver a request under an id; return the answer as it is sent."""
        acknowledged = []
        self.process._serve(Arrival(note, lambda: acknowledged.append(note.id)))
        assert acknowledged
        return self.outbox.sent[-1]

    def say(self, message):
        (answer,) = self.handle(m.encode(message))
        return m.decode(answer)

    def close(self):
        self.stop()

    def copy_to(self, folder):
        """Copy the journal as a backup does."""
        shutil.copytree(self.folder, folder)


def rehearsing(federation, folder, name):
    """A member of a `MaskedFederation`, in a process."""
    identity = federation.keys[name].private_bytes()

    def build(entropy, memory):
        del memory
        return RehearsingMember(name, identity, federation.consortium, entropy, federation.folder)

    return ProcessParty(folder, name, identity, build)


def training(spec, folder):
    """A real member of a small run, in a process."""

    def build(entropy, memory):
        return dataclasses.replace(spec, entropy=entropy, memory=memory).build()

    return ProcessParty(folder, spec.name, spec.identity, build)
