"""Checks of authority: the agreement, its members, and their signatures."""

from __future__ import annotations

from collections.abc import Iterator

from securefl.audit.bundle.case import AuditContext, moment_of
from securefl.audit.bundle.findings import Finding, failed, passed, skipped, warned, worst_of
from securefl.config.privacy import protects
from securefl.consortium.agreement.model import agreement_fingerprint
from securefl.consortium.agreement.signatures import as_it_stood, check, standing
from securefl.consortium.encoding.jcs import from_timestamp
from securefl.consortium.ledger.digests import config_digest
from securefl.consortium.ledger.events import End, Release, ScoreRelease, Start
from securefl.consortium.ledger.vote_events import Ballot
from securefl.errors import AgreementError


def agreement_signed(case: AuditContext) -> Finding:
    """The agreement is signed by its quorum and was in force when the run began."""
    signed = case.agreement
    # At the time of the run, not of the audit: an agreement that expired since was in force then.
    begun = min((line.entry.time for line in case.log.lines), default=case.bundle.created)
    try:
        now = check(signed, from_timestamp(begun))
        standing(case.latest)  # key changes after the run have to be signed as well
    except AgreementError as error:
        return failed(str(error), "agreement")
    except ValueError:
        return failed(f"{begun} is no time", "entries")
    return passed(
        f"'{signed.agreement.name}', {len(signed.signatures)} signatures of {len(now.members)}"
        f" members, quorum {signed.agreement.quorum}"
    )


def agreement_pinned(case: AuditContext) -> Finding:
    """The bundle's agreement equals the one that the auditor obtained independently.

    A run that began before that one replaced the bundle's is honest; one that began later is not.
    """
    inside = case.bundle.agreement
    if case.pinned is None:
        return skipped(
            "no agreement was given; the bundle's own has the fingerprint"
            f" {agreement_fingerprint(inside.agreement)}"
        )
    try:
        named = inside.digest()
        same = as_it_stood(case.pinned, named.hex()) is not None or case.latest is inside
    except AgreementError as error:
        return failed(str(error), "agreement")
    if not same:
        return failed(
            "the bundle holds another agreement: fingerprint"
            f" {agreement_fingerprint(inside.agreement)}, yours"
            f" {agreement_fingerprint(case.pinned.agreement)}",
            "agreement",
        )
    return _replaced(case) if case.replaced else passed(f"digest {named.hex()[:16]}…")


def _replaced(case: AuditContext) -> Finding:
    """Return the finding on a run under the version that the auditor's agreement replaces."""
    inside, pinned = case.latest.agreement, (case.pinned or case.latest).agreement
    both = (
        f"an agreement that yours replaces: fingerprint {agreement_fingerprint(inside)}, yours"
        f" {agreement_fingerprint(pinned)}, created {pinned.created}"
    )
    created = moment_of(pinned.created)

    def faults() -> Iterator[Finding]:
        # A member's first entry, and not its last: a run that was under way may be ended.
        for lines in case.log.by_member.values():
            try:
                late = moment_of(lines[0].entry.time) > created
            except ValueError:
                continue  # reported by `times_in_order`
            if late:
                yield failed(f"the member began after that under {both}", lines[0].where)

    return worst_of(faults(), warned(f"the run began before that under {both}", "agreement"))


def entries_of_members(case: AuditContext) -> Finding:
    """Every entry is of this run, under this agreement, by a member of it."""
    if case.standing is None:
        return failed("the agreement contradicts itself, so that nobody's key counts", "agreement")
    digest = case.standing.digest.hex()

    def faults() -> Iterator[Finding]:
        for line in case.log.lines:
            if line.member not in case.keys:
                yield failed(f"{line.member} is no member of the agreement", line.where)
            elif line.entry.agreement != digest:
                yield failed("the entry is under another agreement", line.where)
            elif line.entry.run != case.bundle.run:
                yield failed("the entry is of another run", line.where)

    return worst_of(faults(), passed(f"{len(case.log.by_member)} members wrote entries"))


def entry_signatures(case: AuditContext) -> Finding:
    """Every entry is signed with its member's key in the agreement."""

    def faults() -> Iterator[Finding]:
        for line in case.log.lines:
            public = case.keys.get(line.member)
            if public is None:
                yield failed(f"the agreement has no key of {line.member}", line.where)
            elif not line.signed_with(public):
                yield failed(f"the signature is not {line.member}'s", line.where)
        for name in case.revoked & case.log.by_member.keys():
            yield warned(
                f"the key of {name} was revoked later, and no signature says when it was made",
                case.log.by_member[name][0].where,
            )

    return worst_of(faults(), passed(f"{len(case.log.lines):,} signatures fit"))


def config_agreed(case: AuditContext) -> Finding:
    """Every member started with the agreed configuration, and released in the agreed mode."""
    config = case.agreement.agreement.config
    digest = config_digest(case.agreement.agreement)

    def faults() -> Iterator[Finding]:
        for line, start in case.log.starts.values():
            if start.config != digest:
                yield failed(
                    "the member started with another configuration than the agreed one",
                    line.where,
                )
        for line, release in case.log.of(Release):
            if (release.mode, release.dp) != (config.mode, config.privacy.dp):
                yield failed(
                    f"released in mode {release.mode} with dp {release.dp}; agreed were"
                    f" {config.mode} and {config.privacy.dp}",
                    line.where,
                )
        if not protects(config.privacy.dp):
            yield from _unfounded_claims(case)

    return worst_of(faults(), passed(f"digest {digest[:16]}… at {len(case.log.starts)} members"))


def _unfounded_claims(case: AuditContext) -> Iterator[Finding]:
    """Yield the entries that state a privacy loss where no noise was agreed.

    Such a run has no privacy unit, so every earlier mechanism is of another one: `other_units`.
    """
    stated: tuple[object, ...]
    for line in case.log.lines:
        match line.event:
            case Start(
                unit=unit,
                delta=delta,
                accountant=accountant,
                epsilon_before=epsilon,
                cap=cap,
                history=history,
            ):
                stated = (unit, delta, accountant, epsilon, cap, history or None)
            case ScoreRelease(mechanism=mechanism):
                stated = (mechanism,)
            case (
                Release(
                    mechanism=mechanism, delta=delta, epsilon_before=before, epsilon_after=epsilon
                )
                | Ballot(
                    mechanism=mechanism, delta=delta, epsilon_before=before, epsilon_after=epsilon
                )
            ):
                stated = (mechanism, delta, before, epsilon)
            case End(epsilon_after=epsilon):
                stated = (epsilon,)
            case _:
                continue
        if any(value is not None for value in stated):
            yield failed("the entry states a privacy loss, and no noise was agreed", line.where)


def commitments_distinct(case: AuditContext) -> Finding:
    """Each member committed to its own number of units and has a data set of its own."""
    own: dict[str, str] = {}

    def faults() -> Iterator[Finding]:
        for member, (line, start) in case.log.starts.items():
            for what, value in (("commitment", start.units), ("data set", start.data_set)):
                # Both hold 32 random bytes of the member: equal ones were copied.
                owner = own.setdefault(value, member)
                if owner != member:
                    yield failed(f"the {what} is also that of {owner}", line.where)

    return worst_of(faults(), passed(f"{len(case.log.starts)} members, each with its own"))


def code_equal(case: AuditContext) -> Finding:
    """All members ran the same sources."""
    starts = case.log.starts.values()
    codes = {(start.code, start.code_version): (line, start) for line, start in starts}
    if len(codes) > 1:
        line, start = list(codes.values())[-1]
        return warned(
            f"members state {len(codes)} different sources; this one {start.code_version},"
            f" {start.code[:16]}…",
            line.where,
        )
    _, start = next(iter(codes.values()))
    return passed(f"version {start.code_version}, digest {start.code[:16]}…")
