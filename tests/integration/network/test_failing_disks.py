"""A member's disk fails at any write of a round: memory and journal stay one, and the sums right.

Each write is tried in each way: it fails once, before or after it was done, or it and all that
follow it fail until the round is over.
"""

import dataclasses
from contextlib import contextmanager

import numpy as np
import pytest

from securefl.federation import messages as m
from securefl.federation.aggregation.session_parameters import encode_update
from support.faults.failing_disk import WAYS, Waiting, on_failing_disk
from support.masked_federation import DIMENSION, MaskedFederation
from support.member_in_process import rehearsing
from support.rehearsal import rehearsed_change

VICTIM = "retailer-1"
ROUNDS = 2


@dataclasses.dataclass
class Stage:
    """A federation of which one member has such a disk."""

    federation: MaskedFederation
    waiting: Waiting
    disk: object

    @property
    def party(self):
        return self.waiting.party

    def round(self, number):
        """A round and its end; its sum is compared, integer by integer."""
        result = self.federation.round(number)
        encoding, wanted = result.terms.encoding, 0
        for name in result.survivors:
            wanted = wanted + encode_update(
                encoding, rehearsed_change(name, number, DIMENSION), 1.0, 1
            )
        tail = encoding.tail
        assert np.array_equal(np.asarray(result.total)[:-tail], wanted[:-tail])
        for name in self.federation.names:
            self.federation.ask(name, m.Save(round=number))
        return result.survivors

    def check_one(self):
        """A restart finds the member that there is, and no file that no row names."""
        before = self.party.process.member.state()
        files = {path.name for path in self.party.folder.iterdir()}
        self.party.restart()
        self.disk.put()
        assert self.party.process.member.state() == before
        kept = {name for name in files if name.endswith((".sealed", ".question", ".partial"))}
        assert kept == self.party.journal._files()


@contextmanager
def staged(folder, monkeypatch):
    federation = MaskedFederation(folder / "books", members=4)
    federation.wire.members[VICTIM].close()
    party = rehearsing(federation, folder / "state", VICTIM)
    with on_failing_disk(party, monkeypatch) as disk:
        waiting = federation.wire.members[VICTIM] = Waiting(party, disk)
        yield Stage(federation, waiting, disk)
    for member in federation.wire.members.values():
        member.close()


def writes_of(stage):
    found = []
    for number in range(1, ROUNDS + 1):
        stage.disk.fail(None)
        stage.round(number)
        found.append(stage.disk.writes)
    stage.check_one()
    return found


def play(stage, number, way, at):
    """Fail at a write of a round; the member is in the round or the next one, and is the same."""
    for earlier in range(1, number):
        stage.round(earlier)
    stage.disk.fail(at, **WAYS[way])
    survivors = stage.round(number)
    assert stage.disk.failed, "the write that was to fail was never made"
    stage.disk.free()
    stage.waiting.end()
    others = set(stage.federation.names) - {VICTIM}
    assert others <= set(survivors)
    if way != "until the next round":
        assert VICTIM in survivors
    stage.check_one()
    assert VICTIM in stage.round(number + 1)
    stage.check_one()


@pytest.fixture(scope="module")
def writes(tmp_path_factory):
    """How many writes the member makes in each round, its end included."""
    with (
        pytest.MonkeyPatch.context() as patch,
        staged(tmp_path_factory.mktemp("count"), patch) as stage,
    ):
        return writes_of(stage)


def test_disk_fails_in_the_middle_of_an_answer(tmp_path, monkeypatch, writes):
    """One write of each way; all of them are below."""
    for place, way in enumerate(WAYS):
        with staged(tmp_path / str(place), monkeypatch) as stage:
            play(stage, 1, way, writes[0] // 2 + place)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", range(1, ROUNDS + 1))
def test_disk_fails_at_every_write_of_a_round(tmp_path, monkeypatch, writes, number, way):
    """Twenty seconds of CPU each."""
    failed = {}
    for at in range(1, writes[number - 1] + 1):
        try:
            with staged(tmp_path / str(at), monkeypatch) as stage:
                play(stage, number, way, at)
        except Exception as error:
            failed[at] = f"{type(error).__name__}: {error}"
    assert failed == {}
