"""A member in a process of its own that votes as no member may, in the rounds that are named."""

import time
from dataclasses import replace

from securefl.federation import messages as m
from securefl.federation.member.votes import MemberVotes
from securefl.federation.scores.ballots import signed_ballot
from securefl.federation.scores.judgement import WORSE
from securefl.federation.services.member_process import MemberProcess
from securefl.federation.transport.timeouts import kind_of
from securefl_protocols.primitives.signing import SigningKey
from support.consortium_processes import life_of_hostile

SILENT, TWICE, OLDER, MALFORMED = "silent", "twice", "older", "malformed"


def life_of_ballots(village, name, ways, attack):
    """A member that attacks too.

    Args:
        village: The consortium's files.
        name: Its name.
        ways: Round to what it does in the place of sending its ballot.
        attack: The attack, and its rounds.
    """
    _change_sending(ways, _change_ballots(ways))
    life_of_hostile(village, name, *attack)


def _change_ballots(ways):
    """Have its votes change ballots; returns all honest ones, by their rounds."""
    honest, given = MemberVotes.answer, {}

    def answer(self, request):
        said = given[request.round] = honest(self, request)
        way = ways.get(request.round)
        if way == OLDER:
            return given[request.round - 1]
        return said.model_copy(update={"ballot": "x" * 100}) if way == MALFORMED else said

    MemberVotes.answer = answer
    return given


def _change_sending(ways, given):
    """Have its process send none of a round's ballots, or others behind it."""
    honest = MemberProcess._send

    def send(self, note):
        number = max(given, default=0)
        way = ways.get(number) if kind_of(note.body) == "ballot" else None
        if way == SILENT:
            return
        honest(self, note)
        if way == TWICE:
            other = _other_ballot(self.member._votes, number)
            for name in (note.id, f"{note.id}.2"):
                time.sleep(1.0)  # the first has been read
                honest(self, replace(note, id=name, body=other))

    MemberProcess._send = send


def _other_ballot(votes, number):
    """The message of another ballot on the same model, signed as the first one."""
    digest, key = bytes.fromhex(votes._given(number).model), SigningKey.of(votes._identity)
    signature = signed_ballot(votes._consortium, key, number, digest, WORSE)
    return m.encode(m.Ballot(round=number, ballot=WORSE, signature=signature))
