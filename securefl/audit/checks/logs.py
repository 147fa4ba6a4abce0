"""Checks of the coordinator's log: completeness, append-only growth, and a single view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from securefl.audit.bundle.case import AuditContext, Log, signature_valid
from securefl.audit.bundle.findings import Finding, failed, passed, warned, worst_of
from securefl.audit.checks.chains import unsound
from securefl.consortium.ledger.hash_chain import canonical
from securefl.consortium.ledger.merkle import verify_consistency, verify_inclusion
from securefl.consortium.ledger.tree_heads import HEAD_LABEL


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
    """The heads are signed by members, and the last one by all of them that took part."""
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
        yield from _missing_signatures(case)

    signatures = sum(len(linked.head.signatures) for linked in heads)
    return worst_of(faults(), passed(f"{signatures:,} signatures under {len(heads):,} heads"))


def _missing_signatures(case: AuditContext) -> Iterator[Finding]:
    number = len(case.bundle.heads) - 1
    signers = case.bundle.heads[-1].head.signatures.keys()
    involved = case.log.participants
    # Below the quorum a fork could have the other signatures; above it, some members may have gone
    # before the last head, which is WARN.
    quorum = min(case.agreement.agreement.quorum, len(involved))
    missing = [member for member in involved if member not in signers]
    if len(involved) - len(missing) < quorum:
        yield failed(
            f"the last head has {len(signers)} signatures, and the quorum is {quorum}",
            f"head {number}",
        )
    elif missing:
        yield warned(f"the last head is not signed by {', '.join(missing)}", f"head {number}")


def no_fork(case: AuditContext) -> Finding:
    """There is a single view of the log, in this bundle and in the other one."""

    def faults() -> Iterator[Finding]:
        roots: dict[int, str] = {}
        for number, linked in enumerate(case.bundle.heads):
            head = linked.head.head
            if roots.setdefault(head.size, head.root) != head.root:
                yield failed(f"two heads of {head.size} entries differ", f"head {number}")
        if case.other is not None:
            yield from _against(case, case.other)

    same = case.other is not None and case.other.bundle.run == case.bundle.run
    place = "in both bundles" if same else "in this bundle; compare it with another auditor's"
    return worst_of(faults(), passed(f"{len(case.bundle.heads):,} heads, one log {place}"))


def _against(case: AuditContext, other: Log) -> Iterator[Finding]:
    if other.bundle.run != case.bundle.run:
        return
    if not_sound := unsound(other, case.agreement):
        yield not_sound
        return
    mine = case.log
    common = min(len(mine.tree), len(other.tree))
    if mine.tree.root(common) != other.tree.root(common):
        pairs = zip(mine.lines, other.lines, strict=False)
        line = next(a for a, b in pairs if a.leaf != b.leaf)
        # Members that signed both views are named: they, or holders of their keys, helped the fork.
        twice = _signers(mine, line.index) & _signers(other, line.index)
        who = f"; {', '.join(sorted(twice))} signed both" if twice else ""
        yield failed(f"the two bundles tell different stories from here on{who}", line.where)
    elif len(other.tree) > common:
        yield failed(
            f"the other bundle has {len(other.tree) - common} more entries, missing here",
            other.lines[common].where,
        )


def _signers(log: Log, index: int) -> set[str]:
    """Return the members that signed a head over the entry at an index."""
    signed: Counter[str] = Counter()
    for linked in log.bundle.heads:
        if linked.head.head.size > index:
            signed.update(linked.head.signatures.keys())
    return set(signed)
