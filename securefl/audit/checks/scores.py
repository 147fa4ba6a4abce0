"""Check of the scores: released once, as agreed, at the agreed price."""

from __future__ import annotations

from collections.abc import Iterator

from securefl.audit.bundle.case import AuditContext, LogEntry
from securefl.audit.bundle.findings import Finding, failed, lacking, passed, worst_of
from securefl.audit.checks.mechanisms import charged_at_once, same_noise
from securefl.config.cohort import least_survivors
from securefl.config.schema import RunConfig
from securefl.consortium.ledger.events import Outcome, Release, ScoreRelease
from securefl.errors import SecureflError
from securefl.federation.scores.bounded import sensitivity
from securefl.privacy.score_plan import score_event, score_table, table_digest

_ROUNDING = 1e-9
_NONE = "no member recorded that scores left it"


def scores_agreed(case: AuditContext) -> Finding:
    """Scores left once at most, with the agreed bounds and noise, after the last round.

    They are of one model, at every member: one that recorded none sent none, or did not charge it.
    """
    config = case.agreement.agreement.config
    ended = {outcome.model_after for _, outcome in case.log.of(Outcome)}

    def faults() -> Iterator[Finding]:
        seen: set[str] = set()
        for line, release in case.log.of(ScoreRelease):
            if line.member in seen:
                yield failed("the scores of one run left twice", line.where)
            seen.add(line.member)
            if release.model not in ended:
                yield failed("the scored model is not one that a round ended with", line.where)
            yield from _faults(config, tuple(case.keys), line, release)
        for line, _ in case.log.of(Release):
            if line.member in seen and _after_scores(case, line):
                yield failed("the member trained after its scores had left", line.where)
        yield from _not_by_all(case, seen)

    count = sum(1 for _ in case.log.of(ScoreRelease))
    return worst_of(faults(), passed(f"{count} releases of scores" if count else _NONE))


def _not_by_all(case: AuditContext, scored: set[str]) -> Iterator[Finding]:
    """Yield a finding if members scored different models, or some recorded no scores."""
    models: dict[str, LogEntry] = {}
    for line, release in case.log.of(ScoreRelease):
        models.setdefault(release.model, line)
    if len(models) > 1:
        yield failed("members scored different models", list(models.values())[-1].where)
    for member in case.log.participants if scored else ():
        if member not in scored:
            yield lacking(
                "scores of every member",
                f"{member} recorded no scores, and others did",
                case.log.by_member[member][-1].where,
            )


def _after_scores(case: AuditContext, release: LogEntry) -> bool:
    scored = [line for line, _ in case.log.of(ScoreRelease, release.member)]
    return release.entry.sequence > scored[0].entry.sequence


def _faults(
    config: RunConfig, names: tuple[str, ...], line: LogEntry, release: ScoreRelease
) -> Iterator[Finding]:
    """Yield what is not as agreed; bounds and noise are recomputed from the agreement alone."""
    try:
        table, event = score_table(config), score_event(config)
    except (SecureflError, KeyError) as error:
        yield failed(f"the agreed scores are not known here: {error}", line.where)
        return
    if table is None or event is None:
        yield failed("scores left, and none were agreed", line.where)
        return
    found, agreed = release.mechanism, config.privacy
    for name, value, wanted in (
        ("bounds", release.scores, table_digest(table).hex()),
        ("number", release.round, config.rounds + 1),
        ("cohort", release.cohort, names),
        ("threshold", release.threshold, least_survivors(config.cohort, len(names))),
        *charged_at_once(found, event, agreed),
        ("sensitivity", found.clip_norm, sensitivity(table).l2),
        ("delta", release.delta, agreed.delta),
    ):
        if value != wanted:
            yield failed(f"the {name} of the scores is {value}, agreed was {wanted}", line.where)
    planned = event.noise_multiplier
    if found.noise_multiplier < planned * (1 - _ROUNDING) or not same_noise(
        found.noise_multiplier, planned
    ):
        yield failed(
            f"the noise multiplier of the scores is {found.noise_multiplier:.4g}, agreed was"
            f" {event.noise_multiplier:.4g}",
            line.where,
        )
