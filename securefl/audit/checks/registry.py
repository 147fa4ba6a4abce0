"""The registry of checks: name, group, function, and how to resolve a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from securefl.audit.bundle.case import AuditContext
from securefl.audit.bundle.findings import Finding
from securefl.audit.checks import (
    authority,
    budgets,
    chains,
    earlier_runs,
    known_mechanisms,
    logs,
    mechanisms,
    models,
    rounds,
    scores,
    sums,
    votes,
)
from securefl.audit.checks.needs import (
    ENTRIES,
    MASKS,
    MODEL,
    OPENINGS,
    OUTCOMES,
    PRIVACY,
    SIGNATURE,
    START_MODEL,
    STARTS,
    TRANSCRIPTS,
    Need,
)

SCHEMA = "schema"
SCHEMA_REMEDY = "Ask the coordinator to export the bundle again; an edited one is worth nothing."


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: Stable name in reports and JSON.
        group: Group in which it is displayed.
        run: The check; its docstring states what holds when it passes.
        remedy: How to resolve it when it does not pass.
        needs: The facts without which it does not run.
    """

    name: str
    group: str
    run: Callable[[AuditContext], Finding]
    remedy: str
    needs: tuple[Need, ...] = ()

    @property
    def claim(self) -> str:
        """Return what holds when the check passes."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]

    def find(self, case: AuditContext) -> Finding:
        """Run the check, or return why it cannot run; where a fact is missing, it never passes."""
        unmet = (need.unmet(case) for need in self.needs)
        return next((finding for finding in unmet if finding is not None), None) or self.run(case)


_WHO, _LOG, _ROUNDS, _PRIVACY, _SUMS = (
    "Who speaks",
    "The log",
    "The rounds",
    "Privacy",
    "The masked sums",
)
_ASK_MEMBER = "Ask that member for the entry from its own book, and compare."
_ASK_MODEL = "Do not use that file. Ask for the model whose digest the members signed."
_ASK_WHY = "Ask that member and the coordinator how it came to this; do not accept the run before."

CHECKS: tuple[Check, ...] = (
    Check(
        "agreement-signed",
        _WHO,
        authority.agreement_signed,
        "Ask the members for the agreement that they signed; without it nobody's key counts.",
    ),
    Check(
        "agreement-pinned",
        _WHO,
        authority.agreement_pinned,
        "Get the agreement from a member you trust and pass it with --agreement, or compare the"
        " fingerprint by phone.",
    ),
    Check(
        "members-known",
        _WHO,
        authority.entries_of_members,
        "Ask the coordinator where the entry comes from; it belongs to no member of this run.",
        needs=(ENTRIES,),
    ),
    Check("entry-signatures", _WHO, authority.entry_signatures, _ASK_MEMBER, needs=(ENTRIES,)),
    Check(
        "config-agreed",
        _WHO,
        authority.config_agreed,
        "The run is not the agreed one. Have the members sign what was really run, or reject it.",
        needs=(STARTS,),
    ),
    Check(
        "code-equal",
        _WHO,
        authority.code_equal,
        "Ask which sources each member ran, and compare the digests with a release you know.",
        needs=(STARTS,),
    ),
    Check(
        "commitments-distinct",
        _WHO,
        authority.commitments_distinct,
        "One member copied another's start, or one party acts for several. Ask each for its own.",
        needs=(STARTS,),
    ),
    Check("entry-chain", _LOG, chains.entry_chain, _ASK_MEMBER, needs=(ENTRIES,)),
    Check(
        "run-complete",
        _LOG,
        chains.run_complete,
        "Ask for a bundle that was exported after the run ended, and each member for its last"
        " entry.",
        needs=(ENTRIES,),
    ),
    Check(
        "log-inclusion",
        _LOG,
        logs.log_inclusion,
        "The coordinator's log does not hold what the heads say. Ask members for the heads that"
        " they signed.",
    ),
    Check(
        "log-consistency",
        _LOG,
        logs.log_consistency,
        "The log was rewritten. Ask each member which heads it signed.",
    ),
    Check(
        "heads-countersigned",
        _LOG,
        logs.heads_countersigned,
        "Ask the members that did not sign whether they saw this head; without them they may have"
        " seen another log.",
    ),
    Check(
        "no-fork",
        _LOG,
        logs.no_fork,
        "Get the bundle of another auditor or the last head of each member, and compare with"
        " --other.",
    ),
    Check(
        "times-in-order",
        _LOG,
        chains.times_in_order,
        "Ask the member about its clock; entries may have been written after the fact.",
    ),
    Check(
        "rounds-agreed",
        _ROUNDS,
        rounds.rounds_agreed,
        "A model or a sum was made outside of the agreed rounds. Do not use any model that was"
        " handed out for it.",
        needs=(OUTCOMES,),
    ),
    Check("releases-in-order", _ROUNDS, rounds.releases_in_order, _ASK_WHY, needs=(ENTRIES,)),
    Check(
        "releases-recorded",
        _ROUNDS,
        rounds.releases_recorded,
        "Ask that member for its entries of the round. Until it shows the release, treat its budget"
        " as unknown.",
        needs=(OUTCOMES,),
    ),
    Check("refusals-kept", _ROUNDS, chains.refusals_kept, _ASK_WHY, needs=(ENTRIES,)),
    Check("questions-refused", _ROUNDS, chains.questions_refused, _ASK_WHY, needs=(ENTRIES,)),
    Check("cohort-agreed", _ROUNDS, rounds.cohort_agreed, _ASK_WHY, needs=(ENTRIES,)),
    Check(
        "survivors-enough",
        _ROUNDS,
        rounds.survivors_enough,
        "Too few members stand behind a sum: treat the updates in it as seen by the coordinator.",
        needs=(OUTCOMES,),
    ),
    Check("outcomes-equal", _ROUNDS, rounds.outcomes_equal, _ASK_WHY, needs=(OUTCOMES,)),
    Check(
        "outcomes-seen",
        _ROUNDS,
        rounds.outcomes_seen,
        "Too few members vouch for how a round ended. Ask those that were in it for what they saw,"
        " and do not use the model before.",
        needs=(ENTRIES,),
    ),
    Check(
        "model-chain",
        _ROUNDS,
        models.model_chain,
        "A model came from elsewhere. Do not use it before the coordinator shows where from.",
        needs=(OUTCOMES,),
    ),
    Check(
        "model-given",
        _ROUNDS,
        models.model_given,
        _ASK_MODEL,
        needs=(OUTCOMES, MODEL),
    ),
    Check(
        "votes-counted",
        _ROUNDS,
        votes.votes_counted,
        "Ask the members for their own entries of that round, and count by the agreement's quorum.",
        needs=(OUTCOMES,),
    ),
    Check("model-signed", _ROUNDS, models.model_signed, _ASK_MODEL, needs=(MODEL, SIGNATURE)),
    Check(
        "mechanism-agreed",
        _PRIVACY,
        mechanisms.mechanism_agreed,
        "The member trained otherwise than agreed. Its epsilon is not the agreed one.",
        needs=(PRIVACY, STARTS),
    ),
    Check(
        "noise-planned",
        _PRIVACY,
        mechanisms.noise_planned,
        "The noise is not the planned one. Treat the member's epsilon as unknown.",
        needs=(PRIVACY, STARTS),
    ),
    Check(
        "scores-agreed",
        _PRIVACY,
        scores.scores_agreed,
        "The scores say more than was agreed. Add their price to the run's before you state an"
        " epsilon.",
        needs=(PRIVACY, STARTS),
    ),
    Check(
        "mechanisms-known",
        _PRIVACY,
        known_mechanisms.mechanisms_known,
        "Ask that member for its privacy ledger; nothing follows from a record that cannot be.",
        needs=(PRIVACY, STARTS),
    ),
    Check(
        "sampler-accounted",
        _PRIVACY,
        mechanisms.sampler_accounted,
        "Price the run without amplification by sampling (a sampling rate of 1), or reject it.",
        needs=(PRIVACY, STARTS),
    ),
    Check(
        "accountant-sound",
        _PRIVACY,
        mechanisms.accountant_sound,
        "Ignore the recorded epsilon, and use the one that this audit recomputes.",
        needs=(PRIVACY, STARTS),
    ),
    Check(
        "randomness-secret",
        _PRIVACY,
        mechanisms.randomness_secret,
        "The noise can be subtracted. Treat the run as one without differential privacy.",
        needs=(PRIVACY, STARTS),
    ),
    Check(
        "units-apart",
        _PRIVACY,
        mechanisms.units_apart,
        "State both guarantees side by side; releases without noise have none.",
        needs=(PRIVACY, STARTS),
    ),
    Check(
        "epsilon-recomputed",
        _PRIVACY,
        budgets.epsilon_recomputed,
        "Use the recomputed epsilon, and ask the member how it came to the lower one.",
        needs=(PRIVACY, STARTS),
    ),
    Check(
        "budget-continued",
        _PRIVACY,
        budgets.budget_continued,
        "The account was reset. Add up all releases of the data before you state an epsilon.",
        needs=(PRIVACY, STARTS),
    ),
    Check(
        "budget-kept",
        _PRIVACY,
        budgets.budget_kept,
        "More was spent than allowed: the members decide whether the data may be used again.",
        needs=(PRIVACY, STARTS),
    ),
    Check(
        "earlier-runs",
        _PRIVACY,
        earlier_runs.earlier_runs,
        "Pass the bundle of an earlier run on the same data with --other.",
        needs=(PRIVACY, STARTS),
    ),
    Check(
        "delta-small",
        _PRIVACY,
        mechanisms.delta_small,
        "Ask the members to open their commitments (audit export --open-units), or see the number"
        " in their books.",
        needs=(PRIVACY, OPENINGS),
    ),
    Check(
        "transcripts-signed",
        _SUMS,
        sums.transcripts_signed,
        "Ask the coordinator for the missing transcripts; their digests are in the entries.",
        needs=(MASKS, OUTCOMES),
    ),
    Check(
        "sums-replayed",
        _SUMS,
        sums.sums_replayed,
        "The sum is not that of what members signed. Ask for its transcript, or reject the round.",
        needs=(MASKS, TRANSCRIPTS),
    ),
    Check(
        "models-from-sums",
        _SUMS,
        sums.models_from_sums,
        "The coordinator applied something else than the sum. Do not use the model.",
        needs=(MASKS, TRANSCRIPTS, START_MODEL),
    ),
)
