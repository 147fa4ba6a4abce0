"""A private round is charged before it is trained: with too little room it is not tried at all."""

from types import SimpleNamespace

import numpy as np
import pytest

from securefl.consortium.ledger.journal_fence import JournalFence
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.errors import StorageFullError
from securefl.federation import messages as m
from securefl.federation.member.journal import MemberJournal
from securefl.federation.services import durable_writes
from securefl.federation.transport.model_cache import named
from support.member_in_process import EPOCH, RUN, ProcessParty

MODEL = m.pack_vector(np.zeros(500_000, np.float32))
REQUEST = m.TrainMasked(round=2, shared=MODEL, cohort=("a", "b"), session=1)


class Charged:
    """A member that charges each training, and finds no room for what it releases."""

    vote_room = 0

    def __init__(self, folder, disk):
        self.ledger, self._disk = PrivacyLedger(book_path(folder, "a")), disk
        self.fence = JournalFence(lambda: self.ledger, RUN.id.hex())

    def handle(self, message):
        assert m.decode(message).shared == MODEL
        self._disk.charges += 1
        if self._disk.free < len(MODEL):
            raise StorageFullError("its release")
        return [m.encode(m.Done())]

    def following(self):
        return MODEL

    def state(self):
        return b""

    def restore(self, state):
        del state

    def anew(self):
        return self

    def begin_after_loss(self):
        pass

    def close(self):
        self.ledger.close()


@pytest.fixture
def disk(monkeypatch):
    """Room for a question and a row, and not for a model; some is made at the third pause."""
    made = SimpleNamespace(free=len(MODEL) - 1, charges=0, pauses=0)

    def sleep(seconds):
        del seconds
        made.pauses += 1
        made.free = 1 << 40 if made.pauses >= 3 else made.free

    def try_room(journal, size):
        del journal
        if size > made.free:
            raise StorageFullError("room")

    monkeypatch.setattr(durable_writes, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(MemberJournal, "try_room", try_room)
    return made


@pytest.fixture
def party(tmp_path, disk):
    party = ProcessParty(tmp_path, "a", bytes(range(32)), lambda *_: Charged(tmp_path, disk))
    yield party
    party.close()


def request():
    """The request as it travels to members that know the model: with its name alone."""
    _, short = named(m.encode(REQUEST))
    assert len(short) < 1000
    return short


def test_release_without_room_is_not_charged_at_each_try(party, disk):
    """The model was named and not sent, and each try found room for the short request."""
    (answer,) = party.handle(request())
    assert isinstance(m.decode(answer), m.Done)
    assert disk.pauses == 3
    assert disk.charges == 2


def test_release_without_room_is_not_charged_at_each_start(party, disk):
    party.journal.add(f"{EPOCH}.1.1", request())
    for _ in range(2):
        party.stop()
        with pytest.raises(StorageFullError):
            party.start()
    assert disk.charges == 0
    disk.free = 1 << 40
    party.restart()
    assert disk.charges == 1


def test_room_for_what_votes_keep_is_asked_for_too(party, disk, monkeypatch):
    """Charged, a round could not end: its snapshot has what is taken back if it is rejected."""
    monkeypatch.setattr(Charged, "vote_room", 1 << 30)
    disk.free = 1 << 29
    party.journal.add(f"{EPOCH}.1.1", request())
    party.stop()
    with pytest.raises(StorageFullError):
        party.start()
    assert disk.charges == 0
