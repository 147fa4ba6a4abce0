"""The answer of an audit in one paragraph: who, what was protected, what was not, how complete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from securefl.audit.bundle.case import AuditContext
from securefl.audit.bundle.findings import Overall
from securefl.audit.life import LifeLoss, customer_loss, life_loss
from securefl.config.privacy import protects
from securefl.consortium.agreement.model import agreement_fingerprint
from securefl.consortium.ledger.events import Outcome, RefusedQuestion, ScoreRelease
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.plan import PrivacyPlan

UNPROTECTED = "no customer is protected"
_PROOF: dict[Overall, str] = {
    "pass": "The evidence is complete, and all of it holds.",
    "incomplete": "The evidence is incomplete, so this is not proved yet; missing: {missing}.",
    "warn": "Something is doubtful, so none of this is certain.",
    "fail": "Something is provably wrong, so believe none of these figures.",
}


def answer(case: AuditContext, verdict: Overall, missing: Sequence[str]) -> str:
    """Return the paragraph at the start of an audit, without any text of a foreign author's."""
    return " ".join(
        (
            _who(case),
            *_protected(case),
            *_unprotected(case),
            *_asked(case),
            _PROOF[verdict].format(missing=", ".join(missing)),
            *_keys(case),
        )
    )


def protected(case: AuditContext) -> bool:
    """Return whether the agreement protects single customers (or members) by noise at all."""
    return protects(case.agreement.agreement.config.privacy.dp)


def _who(case: AuditContext) -> str:
    agreement = case.agreement.agreement
    how = "in masked sums" if case.masked else "with every update in the clear to the coordinator"
    ends = [outcome.survivors for _, outcome in case.log.of(Outcome)]
    least = f", over {min(map(len, ends))} members at least" if ends else ""
    return (
        f"{len(case.log.participants)} of {len(agreement.members)} members of the agreement"
        f" '{agreement.name}' trained the task {agreement.config.task} {how},"
        f" {len(case.log.outcomes):,} of {agreement.config.rounds:,} agreed rounds{least}."
    )


def _protected(case: AuditContext) -> Iterator[str]:
    config = case.agreement.agreement.config
    if not protected(case):
        yield "No noise was added: the model and the sums may tell of single customers."
        return
    mechanism, settings = mechanism_for(config.privacy), config.privacy
    loss = life_loss(case.log, settings)
    yield (
        f"Each {mechanism.unit.of_whom} is protected by"
        f" {PrivacyPlan.of(config).does}, against {mechanism.against()}:"
        f" epsilon {_figure(loss.run)} by this run, and {_figure(loss.life)} over all runs on the"
        f" data that its members count, at delta {settings.delta:g}."
    )
    if settings.unit == "customer" and len(case.log.participants) > 1:
        yield _everywhere(loss, len(case.log.participants))


def _everywhere(loss: LifeLoss, members: int) -> str:
    return (
        f"A customer of all {members} members has epsilon {_figure(loss.everywhere_run)} by this"
        f" run, and {_figure(loss.everywhere_life)} over all runs at most."
    )


def _unprotected(case: AuditContext) -> Iterator[str]:
    """Yield what is not protected."""
    starts = [start for _, start in case.log.starts.values()]
    without = sum(start.unprotected_before for start in starts)
    others = sum(one.steps for start in starts for one in start.other_units)
    if not protected(case):
        yield f"So {UNPROTECTED}."
        return
    if without:
        yield f"Not covered: {without:,} earlier releases of these data, which had no noise."
    if others:
        yield f"Counted beside it: {others:,} earlier steps on the data for other privacy units."
    config = case.agreement.agreement.config
    unit = mechanism_for(config.privacy).unit
    if not unit.covers_customers:
        whole = _figure(customer_loss(case.log, config))
        yield f"A customer of one member is protected less than that: epsilon {whole} by this run."
    if any(True for _ in case.log.of(ScoreRelease)):
        yield "Scores on test cases left with noise of their own, which these figures count."
    else:
        yield "No member recorded that scores on test cases left it."


def _asked(case: AuditContext) -> Iterator[str]:
    count = sum(1 for _ in case.log.of(RefusedQuestion))
    if count:
        yield f"Warning: members refused {count:,} questions that no agreed run asks."


def _keys(case: AuditContext) -> Iterator[str]:
    if case.pinned is None:
        yield (
            "Whose the keys are is not established: compare the fingerprint"
            f" {agreement_fingerprint(case.agreement.agreement)} with a member's, or pass"
            " --agreement."
        )


def _figure(epsilon: float | None) -> str:
    return "without a bound below 20" if epsilon is None else f"{epsilon:.3f}"
