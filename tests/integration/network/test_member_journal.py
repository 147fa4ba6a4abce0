"""A member's journal: what it remembers, and what nobody else can read in it."""

import os

import numpy as np
import pytest

from securefl.consortium.ledger.journal_fence import JournalFence
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger
from securefl.errors import RunDirectoryError
from securefl.federation import messages as m
from securefl.federation.member.journal import MemberJournal
from securefl.federation.services.member_process import (
    JournalMemory,
    MemberEnd,
    MemberProcess,
    QuestionEntropy,
)
from securefl.federation.transport.journalled import Run
from securefl.federation.transport.model_cache import named
from securefl.federation.transport.nats.chunking import Envelope
from securefl.federation.transport.nats.consumer import Arrival
from securefl.federation.transport.nats.subjects import Layout
from securefl.federation.transport.session_keys import RunKeys
from securefl_protocols.primitives.signing import SigningKey
from support.closing import closed_later

KEY, RUN = bytes(range(32)), bytes(32)
FIRST, SECOND = "00" * 8 + ".1.1", "00" * 8 + ".1.2"


def opened(folder, key=KEY):
    return closed_later(MemberJournal(folder, key, RUN))


@pytest.fixture
def journal(tmp_path):
    return opened(tmp_path)


def fence_in(folder):
    ledger = closed_later(PrivacyLedger(folder / "book.sqlite"))
    return JournalFence(lambda: ledger, RUN.hex())


def on_disk(folder):
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_questions_come_back_in_order_with_their_entropy(tmp_path, journal):
    big = os.urandom(100_000)
    written = [journal.add(FIRST, b"small"), journal.add(SECOND, big)]
    assert list(opened(tmp_path).questions()) == written


def test_entropy_and_trainings_are_not_readable_on_the_disk(tmp_path, journal):
    seed = journal.add(FIRST, b"question").seed
    training = os.urandom(64)
    journal.keep("training", training)
    assert journal.recall("training") == training
    content = on_disk(tmp_path)
    assert seed not in content
    assert training not in content


def test_what_a_snapshot_replaces_is_gone_from_the_disk(tmp_path, journal):
    journal.add(FIRST, b"x" * 100_000)
    journal.keep("training", b"y" * 1000)
    sealed = {path.name: path.read_bytes() for path in tmp_path.glob("*.sealed")}
    journal.snapshot(FIRST, b"state")
    content = on_disk(tmp_path)
    assert not any(box in content for box in sealed.values())
    assert not list(tmp_path.glob("*.question"))
    assert FIRST.encode() not in content
    assert list(journal.questions()) == []
    assert journal.recall("training") is None


def test_a_question_is_heard_once_also_after_a_snapshot(journal):
    journal.add(SECOND, b"")
    assert journal.heard(SECOND)
    assert not journal.heard(FIRST)
    journal.snapshot(SECOND, b"")
    assert journal.heard(FIRST)
    assert journal.heard(SECOND)
    assert not journal.heard("00" * 8 + ".2.1")


@pytest.mark.parametrize("name", ["../../x.1.1", "", "00.1.1", "00" * 8 + ".1.-1"])
def test_a_name_that_could_be_a_path_is_no_question(journal, name):
    with pytest.raises(ValueError, match="no id"):
        journal.add(name, b"")


def test_another_key_opens_nothing(tmp_path, journal):
    journal.add(FIRST, b"")
    with pytest.raises(RunDirectoryError, match="another key"):
        list(opened(tmp_path, bytes(32)).questions())


class Broken:
    """A member with a bug, and one with a `Failure` whose text tells too much."""

    vote_room = 0

    def __init__(self, reply=None):
        self.reply = reply

    def handle(self, message):
        if self.reply is None:
            raise ValueError("customer 4711")
        return [m.encode(self.reply)]

    def state(self):
        return b""

    def following(self):
        return None

    def begin_after_loss(self):
        pass

    restore = state


class Listening(Broken):
    """A member that notes what it is asked."""

    def __init__(self):
        self.reply, self.asked = m.Done(), []

    def handle(self, message):
        self.asked.append(m.decode(message))
        return super().handle(message)

    def restore(self, state):
        assert state == b""


class DeadEnd:
    """A link that sends nothing."""

    def send(self, subject, note, keys):
        del subject, note, keys


def test_a_member_that_is_restarted_is_asked_again_with_the_models_that_were_named(
    journal, tmp_path
):
    """The model was sent before the snapshot, and named after it."""
    model = m.pack_vector(np.ones(5000, dtype=np.float32))
    train = m.encode(m.Train(round=2, shared=model))
    run, entropy = Run(RUN, Layout("x"), {}, b""), QuestionEntropy()
    keys = closed_later(RunKeys(tmp_path, SigningKey(KEY), RUN, "a"))
    memory = JournalMemory(journal)
    end = MemberEnd("a", keys, run, DeadEnd(), journal, entropy, memory, fence_in(tmp_path))
    alive = MemberProcess(end, Listening())
    scoring = m.encode(m.Evaluate(round=1, shared=model, split="test", kept=False))
    questions = scoring, m.encode(m.Save(round=1)), named(train)[1]
    for number, body in enumerate(questions, 1):
        note = Envelope("coordinator", "a", f"{'00' * 8}.1.{number}", "", body)
        alive._serve(Arrival(note, lambda: None))
    restarted = Listening()
    MemberProcess(end, restarted)
    assert restarted.asked == [m.decode(train)]


@pytest.mark.parametrize("reply", [None, m.Failure(error="DataError", text="customer 4711")])
def test_an_answer_never_carries_the_text_of_an_error(journal, tmp_path, reply):
    run = Run(RUN, Layout("x"), {}, b"")
    entropy, memory = QuestionEntropy(), JournalMemory(journal)
    keys = closed_later(RunKeys(tmp_path, SigningKey(KEY), RUN, "a"))
    fence = fence_in(tmp_path)
    end = MemberEnd("a", keys, run, None, journal, entropy, memory, fence)
    fence.adopt(journal.head)
    journal.add(FIRST, m.encode(m.BaselineRequest(split="test")))
    answer = MemberProcess(end, Broken(reply))._last
    failure = m.decode(answer.body)
    assert failure.error == ("InternalError" if reply is None else "DataError")
    assert b"4711" not in answer.body
