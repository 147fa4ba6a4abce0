"""The coordinator's side of the ledger: collect signed entries, have tree heads countersigned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from securefl.consortium.ledger.events import Outcome, UnseenOutcome
from securefl.consortium.ledger.hash_chain import canonical, read_entry
from securefl.consortium.ledger.transparency_log import Log, LogError
from securefl.consortium.ledger.tree_heads import TreeHead
from securefl.federation import messages as m
from securefl.federation.aggregation.model_proofs import ModelProof
from securefl.federation.transport.exchange import Exchange, failed


class EndOfRound(TypedDict):
    """How a round ended; see `Recorder.conclude`."""

    number: int
    survivors: tuple[str, ...]
    model: bytes
    transcript: bytes | None
    vote: bytes


class Recorder:
    """The keeper of a run's log, round by round.

    A member that does not answer sends its entries later; until then its cosignature is missing
    under the tree heads, which any reader of the log sees. What else a wrong answer means, the
    exchange decides: over a network it counts as none, and a simulation ends.

    Args:
        log: The run's log.
        exchange: The way to the members.
        names: All members, in roster order.
    """

    def __init__(self, log: Log, exchange: Exchange, names: tuple[str, ...]) -> None:
        self._log = log
        self._exchange = exchange
        self._names = names
        self._earlier: dict[int, m.Conclude] = {}
        self._owed: dict[str, dict[int, m.Conclude]] | None = None

    def begin(self) -> tuple[str, ...]:
        """Ask all members to take part.

        Returns:
            The members that do, in roster order.

        Raises:
            SecureflError: If a member failed and the exchange leaves no member out, or the log lost
                entries.
        """
        requests = {name: m.StartRun(since=self._log.count(name)) for name in self._names}
        replies = self._exchange.replies(requests)
        for name, reply in replies.items():
            # A refusal is an entry as well: an auditor sees who did not take part, and why.
            if isinstance(reply, m.Refused):
                self._appended(name, reply.entries[self._log.count(name) :])
        self._take(replies)
        return tuple(name for name in self._names if not isinstance(replies[name], m.Refused))

    def conclude(
        self,
        members: tuple[str, ...],
        *,
        number: int,
        survivors: tuple[str, ...],
        model: bytes,
        transcript: bytes | None,
        proof: ModelProof | None,
        vote: bytes = b"",
    ) -> None:
        """Announce to all members how a round ended, and have the log cosigned.

        A member records the ends of rounds one after another. One that was away when a round ended
        is told of that end first, or it could record none any more.

        Args:
            members: The members that take part in the run.
            number: Number of the round.
            survivors: Whose updates are in the sum.
            model: Digest of the shared model that the round ended with, 32 bytes.
            transcript: Digest of the masked sum's transcript, 32 bytes; None in mode `plain`.
            proof: What members signed that verified the sum; None in mode `plain`.
            vote: The vote on that model, as it travels; empty where none was held.
        """
        owed = self._owed = self._owed or self._owed_before(number)
        end = (survivors, model, transcript)
        for name in members:
            own = b"" if proof is None else proof.only([name])
            owed[name][number] = _claim(number, end, own, vote)
        self._settle(members)

    def ended(
        self,
        number: int,
        survivors: tuple[str, ...],
        model: bytes,
        transcript: bytes | None,
        vote: bytes = b"",
    ) -> None:
        """Note how a round ended before this process began, by the coordinator's own record.

        Not as members' entries say: one that records another end, or many, would have those that
        were away asked to record what they refuse, and so no later end either. A member's own
        signature under an end of then is not known any more.

        Args:
            number: As for `conclude`, like the others.
            survivors: See above.
            model: See above.
            transcript: See above.
            vote: See above.
        """
        self._earlier[number] = _claim(number, (survivors, model, transcript), b"", vote)

    def _owed_before(self, number: int) -> dict[str, dict[int, m.Conclude]]:
        """Return the ends of rounds before this one on which members have no entry."""
        known = {name: set[int]() for name in self._names}
        for entry in (read_entry(data).entry for data in self._log.entries()):
            if isinstance(entry.event, Outcome | UnseenOutcome):
                known[entry.member].add(entry.event.round)
        before = sorted(ended for ended in self._earlier if ended < number)
        return {
            name: {ended: self._earlier[ended] for ended in before if ended not in known[name]}
            for name in self._names
        }

    def _settle(self, members: Sequence[str]) -> None:
        """Tell members of all ends that they have no entry on, the oldest first."""
        owed, answers = self._owed or {}, dict[str, m.Entries]()
        asked = {name: min(owed[name]) for name in members if owed.get(name)}
        while asked:
            requests = {
                name: owed[name][number].model_copy(update={"since": self._log.count(name)})
                for name, number in asked.items()
            }
            answered = self._entered(self._exchange.replies(requests))
            for name in answered:
                del owed[name][asked[name]]
            answers |= answered
            asked = {name: min(owed[name]) for name in answered if owed[name]}
        if answers:
            self._show(self._log.new_head(), answers)

    def finish(self, members: tuple[str, ...], rounds: int) -> None:
        """Announce to all members that the run is over, and have the log cosigned."""
        self._settle(members)
        requests = {name: m.Finish(rounds=rounds, since=self._log.count(name)) for name in members}
        self._take(self._exchange.replies(requests))

    def _take(self, replies: Mapping[str, m.Message]) -> None:
        # All entries first, then one head over them: each member signs the same head, so that two
        # members that were shown different logs would notice (split view).
        if answers := self._entered(replies):
            self._show(self._log.new_head(), answers)

    def _entered(self, replies: Mapping[str, m.Message]) -> dict[str, m.Entries]:
        """Append the entries in the replies, and return the replies whose entries fit the log."""
        answers = {name: reply for name, reply in replies.items() if isinstance(reply, m.Entries)}
        for name, reply in replies.items():
            if not isinstance(reply, m.Entries | m.Refused | m.Absent):
                self._exchange.leave_out(name, failed(name, reply))
        # One whose entries do not fit counts as absent: it sends them again with the next answer.
        return {
            name: answer for name, answer in answers.items() if self._appended(name, answer.entries)
        }

    def _appended(self, name: str, entries: Sequence[bytes]) -> bool:
        """Append a member's entries, and return whether they fit the log."""
        try:
            self._log.append(name, entries)
        except LogError as error:
            self._exchange.leave_out(name, error)
            return False
        return True

    def _show(self, head: TreeHead, answers: Mapping[str, m.Entries]) -> None:
        requests, ahead = {}, {}
        for name, answer in answers.items():
            try:
                requests[name] = self._shown(head, name, answer)
            except LogError as error:
                ahead[name] = error
        self._leave_out_ahead(ahead, len(requests))
        for name, reply in self._exchange.replies(requests).items():
            if isinstance(reply, m.Countersigned):
                self._countersigned(head, name, reply.signature)
            elif not isinstance(reply, m.Absent):
                self._exchange.leave_out(name, failed(name, reply))

    def _leave_out_ahead(self, ahead: Mapping[str, LogError], others: int) -> None:
        """Go on without members that say they signed a longer log than there is.

        Raises:
            LogError: If they are as many as the others: then this log lost entries. Honest members
                are of one mind, and others are fewer.
        """
        if ahead and len(ahead) >= others:
            raise next(iter(ahead.values()))
        for name, error in ahead.items():
            self._exchange.leave_out(name, error)

    def _countersigned(self, head: TreeHead, name: str, signature: bytes) -> None:
        try:
            self._log.countersigned(head, name, signature)
        except LogError as error:
            self._exchange.leave_out(name, error)

    def _shown(self, head: TreeHead, name: str, answer: m.Entries) -> m.ShowHead:
        inclusions = self._log.inclusions(name, head)
        return m.ShowHead(
            head=canonical(head),
            consistency=self._log.consistency(name, answer.signed, head),
            inclusions=tuple((seq, *found) for seq, found in inclusions.items()),
        )


def _claim(
    number: int, end: tuple[tuple[str, ...], bytes, bytes | None], proof: bytes, vote: bytes
) -> m.Conclude:
    survivors, model, transcript = end
    return m.Conclude(
        round=number,
        survivors=survivors,
        model=model,
        transcript=transcript,
        since=0,  # known when it is asked
        proof=proof,
        vote=vote,
    )
