"""Checks of the coordinator's log: completeness, append-only growth, and a single view."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from securefl.audit.bundle.case import AuditContext, Log, OtherLog, signature_valid
from securefl.audit.bundle.findings import (
    Finding,
    failed,
    lacking,
    passed,
    skipped,
    worst_of,
)
from securefl.consortium.agreement.model import smallest_quorum
from securefl.consortium.ledger.hash_chain import canonical
from securefl.consortium.ledger.merkle import verify_consistency, verify_inclusion
from securefl.consortium.ledger.tree_heads import HEAD_LABEL

COUNTERSIGNATURES = "countersignatures under the log's heads"
"""What is lacking where members have not signed a head that they were to sign."""


def log_inclusion(case: AuditContext) -> Finding:
    """Every head is the root over the entries in the bundle, and the last one covers all."""
    log, heads = case.log, case.bundle.heads
    if not heads:
        return failed("the log has no head, so that nobody vouches for it", "heads")

    def faults() -> Iterator[Finding]:
        for number, linked in enumerate(heads):
            head = linked.head.head
            if head.run != case.bundle.run:
                yield failed("the head is of another run", f"head {number}")
            elif head.size > len(log.tree):
                yield failed(
                    f"the head covers {head.size} entries, and the bundle has {len(log.tree)}",
                    f"head {number}",
                )
            elif log.tree.root(head.size).hex() != head.root:
                yield failed("the entries do not hash to this head", f"head {number}")
        if heads[-1].head.head.size < len(log.tree):
            yield failed("entries stand under no head", log.lines[heads[-1].head.head.size].where)
        yield from _false_proofs(case)

    return worst_of(faults(), passed(f"{len(log.tree):,} entries under {len(heads):,} heads"))


def _false_proofs(case: AuditContext) -> Iterator[Finding]:
    last = case.bundle.heads[-1].head.head
    for inclusion in case.bundle.inclusion:
        where = f"inclusion proof of {inclusion.member}"
        lines = case.log.by_member.get(inclusion.member)
        if not lines or inclusion.index != lines[-1].index:
            yield failed("the proof is not of the member's last entry", where)
        elif not verify_inclusion(
            lines[-1].leaf,
            inclusion.index,
            last.size,
            [bytes.fromhex(node) for node in inclusion.proof],
            bytes.fromhex(last.root),
        ):
            yield failed("the proof does not lead to the last head", where)
    proved = {inclusion.member for inclusion in case.bundle.inclusion}
    for member, lines in case.log.by_member.items():
        # Without them a member could not find its entries in the log without all the others'.
        if member not in proved and lines[-1].index < last.size:
            yield lacking("inclusion proofs", f"there is none for {member}", lines[-1].where)


def log_consistency(case: AuditContext) -> Finding:
    """Each head extends the one before it: entries were only appended."""
    heads = case.bundle.heads

    def faults() -> Iterator[Finding]:
        for number, (before, linked) in enumerate(pairwise(heads), 1):
            old, new = before.head.head, linked.head.head
            if new.time < old.time:
                yield failed("the head is older than the one before it", f"head {number}")
            if not verify_consistency(
                old.size,
                new.size,
                bytes.fromhex(old.root),
                bytes.fromhex(new.root),
                [bytes.fromhex(node) for node in linked.consistency],
            ):
                yield failed("the head does not continue the one before it", f"head {number}")
        if heads and heads[0].consistency:
            yield failed("the first head continues nothing, and has a proof that it does", "head 0")

    return worst_of(faults(), passed(f"{max(len(heads) - 1, 0):,} proofs lead from head to head"))


def heads_countersigned(case: AuditContext) -> Finding:
    """Every head is signed by a quorum of the members, and the last by all that took part."""
    heads = case.bundle.heads
    if not heads:
        return failed("the log has no head, so that nobody vouches for it", "heads")

    def faults() -> Iterator[Finding]:
        for number, linked in enumerate(heads):
            content = canonical(linked.head.head)
            for member, signature in linked.head.signatures.items():
                public = case.keys.get(member)
                if public is None:
                    yield failed(f"{member} signed and is no member", f"head {number}")
                elif not signature_valid(public, signature, HEAD_LABEL, content):
                    yield failed(f"the signature is not {member}'s", f"head {number}")
        yield from _few_signatures(case)
        yield from _missing_signatures(case)

    signatures = sum(len(linked.head.signatures) for linked in heads)
    return worst_of(faults(), passed(f"{signatures:,} signatures under {len(heads):,} heads"))


def _few_signatures(case: AuditContext) -> Iterator[Finding]:
    """Yield the heads before the last that too few members signed.

    Members that are away sign later heads, which extend this one. But a head that nobody signed is
    the coordinator's alone; and in a masked run a sum takes a quorum, which could have signed.
    Signatures are missing and not wrong: a member may be lost before it signs.
    """
    quorum = smallest_quorum(len(case.log.participants))
    for number, linked in enumerate(case.bundle.heads[:-1]):
        signers = len(linked.head.signatures)
        if not signers:
            yield lacking(COUNTERSIGNATURES, "no member signed the head", f"head {number}")
        elif case.masked and signers < quorum:
            reason = f"{signers} members signed the head, a quorum is {quorum}"
            yield lacking(COUNTERSIGNATURES, reason, f"head {number}")


def _missing_signatures(case: AuditContext) -> Iterator[Finding]:
    number = len(case.bundle.heads) - 1
    signers = case.bundle.heads[-1].head.signatures.keys()
    involved = case.log.participants
    # Members may have gone before the last head. Below the quorum, a fork could have the signatures
    # that are missing here.
    quorum = min(case.agreement.agreement.quorum, len(involved))
    missing = [member for member in involved if member not in signers]
    if len(involved) - len(missing) < quorum:
        yield lacking(
            COUNTERSIGNATURES,
            f"the last head has {len(signers)} signatures, and the quorum is {quorum}",
            f"head {number}",
        )
    elif missing:
        reason = f"the last head is not signed by {', '.join(missing)}"
        yield lacking(COUNTERSIGNATURES, reason, f"head {number}")


def no_fork(case: AuditContext) -> Finding:
    """There is a single view of the log, in this bundle and in every other bundle of the run."""
    beside = [other for other in case.others if other.log.bundle.run == case.bundle.run]

    def faults() -> Iterator[Finding]:
        roots: dict[int, str] = {}
        for number, linked in enumerate(case.bundle.heads):
            head = linked.head.head
            if roots.setdefault(head.size, head.root) != head.root:
                yield failed(f"two heads of {head.size} entries differ", f"head {number}")
        for other in beside:
            yield from _against(case.log, other)

    place = f"in {len(beside) + 1} bundles" if beside else "in this bundle; compare another with it"
    return worst_of(faults(), passed(f"{len(case.bundle.heads):,} heads, one log {place}"))


def _against(mine: Log, other: OtherLog) -> Iterator[Finding]:
    """Yield what members signed in another bundle of the run that this one contradicts.

    The order and the selection of entries there are anyone's. Only what is signed under a key that
    counts here proves something: a head over another log, or an entry that is not here.
    """
    found = [*_other_entries(mine, other), *_other_heads(mine, other)]
    if not found and other.fault is not None:
        yield skipped(f"nothing follows from {other.source}: {other.fault}")
    yield from found


def _other_entries(mine: Log, other: OtherLog) -> Iterator[Finding]:
    here = {(line.member, line.entry.sequence): line for line in mine.lines}
    for line in other.log.lines:
        same = here.get((line.member, line.entry.sequence))
        if same is not None and same.content == line.content:
            continue
        if line.entry.run != mine.bundle.run or not other.authentic(line):
            continue
        if same is None:
            yield failed(f"{other.source} has an entry that is missing here", line.where)
        else:
            yield failed(f"{line.member} signed another entry in {other.source}", same.where)


def _other_heads(mine: Log, other: OtherLog) -> Iterator[Finding]:
    for number, linked in enumerate(other.log.bundle.heads):
        head = linked.head.head
        known = head.size <= len(mine.tree) and mine.tree.root(head.size).hex() == head.root
        if known or head.run != mine.bundle.run:
            continue
        content = canonical(head)
        signers = [
            member
            for member, signature in linked.head.signatures.items()
            if any(
                signature_valid(public, signature, HEAD_LABEL, content)
                for public in other.keys.get(member, ())
            )
        ]
        if signers:
            yield failed(
                f"{', '.join(sorted(signers))} signed a head over another log in {other.source}",
                f"head {number}",
            )
