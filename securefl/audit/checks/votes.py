"""Check of the votes: what members signed, counted anew by the agreed rule."""

from __future__ import annotations

from collections.abc import Iterator

from securefl.audit.bundle.case import AuditContext, LogEntry
from securefl.audit.bundle.findings import Finding, failed, lacking, passed, skipped, worst_of
from securefl.audit.checks.mechanisms import charged_at_once, same_noise
from securefl.config.vote import VoteSettings
from securefl.config.vote_rounds import is_voted_on
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.vote_events import Ballot, Vote
from securefl.federation.scores.ballots import counted, is_of
from securefl.federation.scores.judgement import (
    ABSTAIN,
    ACCEPT,
    BALLOTS,
    DEPARTMENT,
    DIRECTION,
    EXPOSURE,
    ROW,
    WORSE,
    rejected,
)
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.vote_plan import projection_noise, vote_event

VOTES = "votes of the members"
"""What is lacking where a vote was agreed and is not, or not wholly, in the bundle."""


def votes_counted(case: AuditContext) -> Finding:
    """Each agreed vote is recorded, signed ballot by ballot, and decided by the agreed rule.

    The decision is recomputed from the signatures. A ballot that a member recorded and that is in
    no vote was withheld; who gave none counts as the agreement says.
    """
    settings = case.agreement.agreement.config.vote
    events = [line for line, _ in case.log.of(Vote)] + [line for line, _ in case.log.of(Ballot)]
    if settings is None:
        unasked = (failed("a vote is recorded, and none was agreed", line.where) for line in events)
        return worst_of(unasked, skipped("no vote was agreed"))

    def faults() -> Iterator[Finding]:
        yield from _missing(case)
        for line, vote in case.log.of(Vote):
            yield from _miscounted(case, settings, line, vote)
        yield from _unequal(case)
        for line, ballot in case.log.of(Ballot):
            yield from _withheld(case, line, ballot)
            yield from _mispriced(case, line, ballot)
            yield from _unpaid(case, line, ballot)
        yield from _unrecorded(case)
        yield from _too_often(case, settings)

    taken_back = sum(case.log.rejects(number) for number in case.log.votes)
    said = f"{len(case.log.votes):,} votes, {taken_back:,} of which reject a model"
    return worst_of(faults(), passed(said + _absent(case)))


def _absent(case: AuditContext) -> str:
    """Name the members without a ballot, who decide a vote by their absence."""
    votes = [next(iter(shown.values()))[1] for shown in case.log.votes.values()]
    given = [{ballot.member for ballot in vote.ballots} for vote in votes]
    missed = {name: sum(name not in one for one in given) for name in case.keys}
    parts = [f"{name} in {count:,}" for name, count in missed.items() if count]
    return f"; no ballot of {', '.join(parts)}" if parts else ""


def _missing(case: AuditContext) -> Iterator[Finding]:
    """Yield the members that recorded the end of a round, and no vote that was agreed on it."""
    for number, outcomes in case.log.outcomes.items():
        shown = case.log.votes.get(number, {})
        if not is_voted_on(case.agreement.agreement.config, number):
            for line, _ in shown.values():
                yield failed(f"no vote on round {number} was agreed", line.where)
            continue
        for member, (line, _) in outcomes.items():
            if member not in shown:
                yield lacking(VOTES, "the member recorded no vote on this round", line.where)
    for number in case.log.votes.keys() - case.log.outcomes.keys():
        yield failed("a vote is on a round that did not end", f"round {number}")


def _miscounted(
    case: AuditContext, settings: VoteSettings, line: LogEntry, vote: Vote
) -> Iterator[Finding]:
    """Yield what is wrong in one member's record of a vote."""
    consortium = Consortium(case.agreement, bytes.fromhex(case.bundle.run))
    names = tuple(case.keys)
    said = {one.member: one.ballot for one in vote.ballots}
    if list(said) != [name for name in names if name in said] or len(said) < len(vote.ballots):
        yield failed("a vote's ballots are not one a member, in roster order", line.where)
        return
    for one in vote.ballots:
        content = vote.round, bytes.fromhex(vote.model), one.ballot
        if not is_of(consortium, one.member, bytes.fromhex(one.signature), content):
            yield failed(f"{one.member} did not sign its ballot", line.where)
    if vote.rejected != rejected(counted(settings, said, names), settings.quorum):
        yield failed("the ballots decide otherwise, by the agreed quorum", line.where)
    for _, outcome in case.log.outcomes.get(vote.round, {}).values():
        if outcome.model_after != vote.model:
            yield failed("the vote is on another model than the round ended with", line.where)
            return


def _unequal(case: AuditContext) -> Iterator[Finding]:
    """Yield the rounds of which members recorded different votes, or one recorded two."""
    for number, shown in case.log.votes.items():
        (_, first), *others = shown.values()
        yield from (
            failed("members were shown different votes", line.where)
            for line, vote in others
            if vote != first
        )
        entries = sum(vote.round == number for _, vote in case.log.of(Vote))
        if entries > len(shown):
            yield failed("a member recorded two votes on one round", f"round {number}")


def _withheld(case: AuditContext, line: LogEntry, ballot: Ballot) -> Iterator[Finding]:
    """Yield a finding if a member's own ballot is in no vote, or another one is in its place."""
    shown = case.log.votes.get(ballot.round)
    if shown is None:
        if ballot.round in case.log.outcomes:
            yield lacking(VOTES, "a ballot was given, and no vote is recorded", line.where)
        return
    for _, vote in shown.values():
        if vote.model != ballot.model:
            yield failed("the member's ballot is on another model than the vote", line.where)
            return
        said = {one.member: one.ballot for one in vote.ballots}.get(line.member)
        if said is None:
            # The coordinator withheld it, or it came too late: nothing in the bundle says which.
            yield lacking(VOTES, "the ballot of this member is not in the vote", line.where)
            return
        if said != ballot.ballot:
            yield failed("the member signed another ballot than it recorded", line.where)
            return


def _mispriced(case: AuditContext, line: LogEntry, ballot: Ballot) -> Iterator[Finding]:
    """Yield what is not as agreed in a ballot's price: noise and bound follow from the agreement.

    Only what is read off the sum alone may be free where ballots are charged: an abstention, and a
    row that stands out in it.
    """
    config, found = case.agreement.agreement.config, ballot.mechanism
    event = vote_event(config)
    stated = (ballot.delta, ballot.epsilon_before, ballot.epsilon_after)
    if found is None:
        if event is not None and ballot.ballot not in (ABSTAIN, ROW):
            yield failed("a ballot on customers' data was not charged", line.where)
        if stated != (None, None, None):
            yield failed("a ballot that costs nothing states a privacy loss", line.where)
        return
    if event is None:
        yield failed("a ballot is charged, and none is to be", line.where)
        return
    agreed, mechanism = config.privacy, mechanism_for(config.privacy)
    code = mechanism.sum_encoding(config, case.bundle.claims.dimension)
    noise = projection_noise(config, code)
    for name, value, wanted in (
        *charged_at_once(found, event, agreed),
        ("sensitivity", found.clip_norm, None if noise is None else noise.sensitivity.l2),
        ("delta", ballot.delta, agreed.delta),
    ):
        if value != wanted:
            yield failed(f"the {name} of the ballot is {value}, agreed was {wanted}", line.where)
    if not same_noise(found.noise_multiplier, event.noise_multiplier):
        yield failed(
            f"the noise multiplier of the ballot is {found.noise_multiplier:.4g}, agreed was"
            f" {event.noise_multiplier:.4g}",
            line.where,
        )


def _unpaid(case: AuditContext, line: LogEntry, ballot: Ballot) -> Iterator[Finding]:
    """Yield a finding if a ballot says what no noise of the member covers, under a budget."""
    mechanism = mechanism_for(case.agreement.agreement.config.privacy)
    allowed = {*BALLOTS}
    if mechanism.shares_noise:  # of a noised projection, or of the sum
        allowed = {ACCEPT, DIRECTION, ROW, ABSTAIN}
    elif mechanism.private:  # of the member's released update, and never of held-out cases
        allowed -= {WORSE, DEPARTMENT, EXPOSURE}
    if ballot.ballot not in allowed:
        said = f"a ballot says '{ballot.ballot}', which under this budget nothing pays for"
        yield failed(said, line.where)


def _unrecorded(case: AuditContext) -> Iterator[Finding]:
    """Yield ballots in votes that are not one entry of their members' own: none, or two."""
    own = set[tuple[str, int]]()
    for line, ballot in case.log.of(Ballot):
        if (line.member, ballot.round) in own:
            # Of two readings of one number through noise, a member could send the better one.
            yield failed("the member gave two ballots on one round", line.where)
        own.add((line.member, ballot.round))
    for number, shown in case.log.votes.items():
        line, vote = next(iter(shown.values()))
        for one in vote.ballots:
            if (one.member, number) not in own:
                yield lacking(VOTES, f"{one.member} voted, and recorded no ballot", line.where)


def _too_often(case: AuditContext, settings: VoteSettings) -> Iterator[Finding]:
    """Yield the rounds that were trained after more rejections in a row than are repeated."""
    for number, releases in sorted(case.log.releases.items()):
        in_a_row = number - 1 - case.log.last_accepted(number)
        if in_a_row > settings.repeats:
            yield failed(
                f"{in_a_row} models in a row were rejected, and {settings.repeats} repeats were"
                " agreed",
                releases[0][0].where,
            )
