"""The annex on data protection, and the answers to the questions of NIST SP 800-226.

The annex follows what EDPB Opinion 28/2024 asks a developer of a model to document; the answers
follow the layers of the differential privacy pyramid of NIST SP 800-226.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from securefl.audit.dossier.evidence import Answer, AttackFile, Evidence, figure
from securefl.audit.dossier.parties import SEES
from securefl.audit.life import customer_loss
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.events import Release, ScoreRelease
from securefl.privacy.plan import PrivacyPlan

_NO_NOISE: Final = (
    "No protection: no noise was added, so the model and the sums may tell of single customers, and"
    " no bound holds."
)

_SAME_CLAIM: Final = 0.05
"""Relative difference up to which an attacked epsilon is the agreed one."""


def annex(evidence: Evidence) -> tuple[Answer, ...]:
    """Return the annex on data protection."""
    return (
        Answer(
            "Purpose",
            f"To learn {evidence.spec.description}, from {len(evidence.agreement.members)} members'"
            " data that stay with them.",
        ),
        Answer(
            "Controllers, legal basis, impact assessment",
            "Each member is a controller of its own customers' data. State the legal basis, whether"
            " members are joint controllers (Article 26 GDPR), the impact assessment (Article 35)"
            " or why none is needed, and the advice of the data protection officers.",
            "to be stated",
        ),
        Answer("Data that leave a member", SEES[evidence.protection], "by design"),
        Answer("Privacy unit", _unit(evidence)),
        Answer("Mechanism", _mechanism(evidence)),
        Answer("Privacy loss by this run", _by_run(evidence)),
        Answer("Privacy loss over the life of the data", _over_life(evidence)),
        Answer("Resistance in theory", _theory(evidence), "by design"),
        Answer("Attacks that were tried", _attacks(evidence), "unsigned"),
        Answer("Residual risk", " ".join(_residual(evidence))),
        Answer(
            "Is the model anonymous?",
            "This dossier does not claim it. Opinion 28/2024 has it assessed case by case: the"
            " chance to extract personal data, or to obtain them by queries, has to be"
            " insignificant. The figures above are what such an assessment starts from.",
            "by design",
        ),
        Answer(
            "Over the life cycle",
            "Who gets the model, for how long, how it is queried, and how it is withdrawn if a flaw"
            " is found.",
            "to be stated",
        ),
    )


def nist(evidence: Evidence) -> tuple[Answer, ...]:
    """Return the answers along the pyramid of NIST SP 800-226, from its top down."""
    return (
        Answer("Epsilon: how strong is the guarantee?", _by_run(evidence)),
        Answer("Unit of privacy: who or what is protected?", _unit(evidence)),
        Answer("Composition: what of other releases of the same data?", _over_life(evidence)),
        Answer("Is there a limit over the life of the data?", _caps(evidence)),
        Answer("Mechanism and sensitivity: how is the noise made?", _mechanism(evidence)),
        Answer("Correctness: who checked the figures?", _checked(evidence)),
        Answer(
            "Correctness: randomness and floating point?",
            "Noise comes from a keyed generator with a key of the operating system, and is drawn"
            " exactly on integers; sums are rounded to a grid before, and rounding is part of the"
            " sensitivity (docs/explanation/privacy.md).",
            "by design",
        ),
        Answer(
            "Utility and bias: what does the noise cost, and whom?",
            "No signature covers accuracy by member. `securefl report` shows it, marked as"
            " unsigned. Noise costs small groups of customers most: compare results for them before"
            " use.",
            "unsigned",
        ),
        Answer("Trust model: who must be trusted?", _trust(evidence), "by design"),
        Answer(
            "Side channels?",
            "Updates have the same size whatever the data; no refusal under a budget depends on"
            " customers. The time that a member takes is not hidden.",
            "by design",
        ),
        Answer(
            "Security and access control?",
            "Identity keys under a passphrase, messages sealed for their receiver, agreements and"
            " entries signed. How members protect their tables and machines.",
            "to be stated",
        ),
        Answer(
            "Data collection: are the data needed at all?",
            "Which tables members read, since when, and what they delete. The guarantee covers what"
            " was released from them and not the tables.",
            "to be stated",
        ),
        Answer("What is not covered?", " ".join(_residual(evidence))),
    )


def _unit(evidence: Evidence) -> str:
    if not evidence.mechanism.private:
        return _NO_NOISE
    plan, unit = PrivacyPlan.of(evidence.config), evidence.mechanism.unit
    return (
        f"Each {unit.of_whom}: {plan.protects}. Neighbouring data sets: {unit.adjacency} (unbounded"
        " differential privacy)."
    )


def _mechanism(evidence: Evidence) -> str:
    if not evidence.mechanism.private:
        return _NO_NOISE
    does = PrivacyPlan.of(evidence.config).does
    made = _noise([event.mechanism for _, event in evidence.log.of(Release)])
    scores = [event.mechanism for _, event in evidence.log.of(ScoreRelease)]
    closing = f" Released scores: {_noise(scores)}." if scores else ""
    return (
        f"{does[0].upper()}{does[1:]}, against {evidence.mechanism.against()}. Updates:"
        f" {made}.{closing}"
    )


def _noise(mechanisms: Sequence[Mechanism | None]) -> str:
    """Return the least noise and the largest bound that was recorded."""
    made = [one for one in mechanisms if one is not None]
    if not made or len(made) < len(mechanisms):
        return "a release without noise was recorded" if mechanisms else "none was recorded"
    least, most = min(one.noise_multiplier for one in made), max(one.clip_norm for one in made)
    return f"noise multiplier {least:.3f} at least, contributions clipped at {most:g}"


def _by_run(evidence: Evidence) -> str:
    loss, settings = evidence.loss, evidence.config.privacy
    if loss is None:
        return _NO_NOISE
    return (
        f"Epsilon {figure(loss.run)} at delta {settings.delta:g}, of an agreed"
        f" {settings.epsilon:g}.{_several(evidence, loss.everywhere_run)}{_whole(evidence)}"
    )


def _whole(evidence: Evidence) -> str:
    """Return what a whole customer is protected by, where the unit is another."""
    if evidence.mechanism.unit.covers_customers:
        return ""
    whole = customer_loss(evidence.log, evidence.config)
    return f" A customer of one member is protected less: epsilon {figure(whole)}."


def _over_life(evidence: Evidence) -> str:
    loss = evidence.loss
    if loss is None:
        return _NO_NOISE
    count = evidence.unprotected_before
    without = (
        f" Not in it: {count:,} earlier releases of these data, without noise." if count else ""
    )
    return (
        f"Epsilon {figure(loss.life)} over all runs that the members' privacy ledgers count."
        f"{_several(evidence, loss.everywhere_life)}{without}"
    )


def _several(evidence: Evidence, epsilon: float | None) -> str:
    members = len(evidence.log.participants)
    if not evidence.several:
        return ""
    return f" A customer of all {members} members: {figure(epsilon)} at most."


def _caps(evidence: Evidence) -> str:
    capped = {
        name: start.cap.epsilon for name, (_, start) in evidence.log.starts.items() if start.cap
    }
    without = sorted(set(evidence.log.starts) - set(capped))
    stated = ", ".join(f"{name} {cap:g}" for name, cap in sorted(capped.items()))
    parts = ([f"Caps of the members' policies: {stated}."] if stated else []) + (
        [f"Without a cap: {', '.join(without)}."] if without else []
    )
    return " ".join(parts) or "No member recorded its start."


def _checked(evidence: Evidence) -> str:
    audit = evidence.proof.audit
    counts = Counter(check.verdict for check in audit.checks)
    found = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    codes = {start.code_version for _, start in evidence.log.starts.values()}
    return (
        f"An audit of the signed log, verdict {audit.verdict}; of {len(audit.checks)} checks:"
        f" {found}. It prices every epsilon a second time. Members ran version"
        f" {', '.join(sorted(codes)) or 'unknown'}."
    )


def _trust(evidence: Evidence) -> str:
    if evidence.config.mode == "plain":
        return "The coordinator, with every member's update. Members need not trust each other."
    return (
        "No single party with another's data. The coordinator may be malicious; at least a"
        " threshold of members has to be honest (SECURITY.md)."
    )


def _theory(evidence: Evidence) -> str:
    if not evidence.mechanism.private:
        return _NO_NOISE
    return (
        "Differential privacy bounds every attack on what was released, also with background"
        " knowledge: membership inference, attribute inference and reconstruction gain no more than"
        " epsilon and delta allow. It says nothing of what is common to many customers."
    )


def _attacks(evidence: Evidence) -> str:
    attack = evidence.attack
    if attack is None:
        return "Not done. `securefl audit attack --format json` makes the report."
    lines = "; ".join(
        f"{line.name}: {line.gain}, {line.verdict}"
        + ("" if line.lower_bound is None else f" (at least epsilon {line.lower_bound:.2f})")
        for line in attack.attacks
    )
    return (
        f"{'No claim was refuted' if attack.verdict == 'pass' else 'A CLAIM WAS REFUTED'}:"
        f" {attack.canaries:,} canaries, {attack.rounds} rounds, each bound at"
        f" {attack.confidence:.0%} confidence. {lines}.{_other_claim(evidence, attack)}"
    )


def _other_claim(evidence: Evidence, attack: AttackFile) -> str:
    settings = evidence.config.privacy
    same = (attack.unit, attack.delta) == (settings.unit, settings.delta)
    # An attack states what its training spent, which is the agreed budget or a little less.
    if same and math.isclose(attack.epsilon, settings.epsilon or 0.0, rel_tol=_SAME_CLAIM):
        return ""
    return (
        f" It tried another claim than this run's (epsilon {attack.epsilon:g} at delta"
        f" {attack.delta:g} for a {attack.unit}), so it says nothing about this one."
    )


def _residual(evidence: Evidence) -> Iterator[str]:
    """Yield what remains, the worst first."""
    if evidence.proof.audit.verdict == "fail":
        yield "The audit found something provably wrong: none of these figures can be relied on."
    if evidence.loss is None:
        yield "Single customers are not protected: a model can retain and reveal their data."
    elif evidence.most_over_life is None:
        yield "For some customers no bound over the life of the data is known."
    if evidence.unprotected_before:
        yield "Earlier releases of the same data without noise are bounded by nothing."
    if evidence.attack is None:
        yield "No attack was tried on this installation."
    yield (
        "No audit shows that members trained honestly, or that their programs did what their"
        " entries say."
    )
