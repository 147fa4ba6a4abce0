"""What somebody may do to a bundle, and the check that has to notice.

An outsider edits the bundle. A cheating member changes what it writes and signs it with its own
key; the coordinator is its accomplice and builds the log anew, and the other members countersign
what they are shown.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from securefl.consortium.ledger.events import Cap, End, Outcome, Release, Start
from support.bundle_edits import (
    CHEAT,
    FALSE,
    HONEST,
    beside,
    break_consistency,
    change_agreement,
    change_sigma,
    cheaper_history,
    copied_start,
    crafted_outcome,
    crafted_start,
    different_tensors,
    drop_agreement_signature,
    drop_countersignature,
    false_opening,
    false_repeat,
    fewer_than_demanded,
    foreign_key,
    foreign_member,
    forge_countersignature,
    forge_root,
    forgets_unprotected,
    fork,
    gap,
    history,
    history_without_noise,
    in_agreement,
    invented_outcome,
    left_out,
    lonely_head,
    mechanism,
    member,
    more_units,
    move_inclusion,
    no_release,
    of_integers,
    one_alone_saw_in_plain,
    one_sum_for_two,
    other_agreement,
    outsider,
    question_refused,
    refused_and_released,
    refused_without_noise,
    release_late,
    remove_release,
    reorder,
    replaced_agreement,
    replay_entry,
    replay_signature,
    reset_account,
    reset_with_history,
    rewritten,
    round_model,
    rounds_after_end,
    scored_by,
    scored_without_noise,
    scores,
    second_noise,
    second_round,
    second_sum,
    signed_unseen,
    skipped_round,
    started_twice,
    stated_without_noise,
    swap_member,
    tensors_exchanged,
    truncate,
    truncate_with_heads,
    truncated_for_us,
    two_files,
    unknown_field,
    unseen,
    unsigned_heads,
)
from support.bundle_scenario import NOW, STEP, Scenario, scored
from support.bundle_votes import (
    exchanged_ballots,
    forgotten_vote,
    miscounted_vote,
    priced_ballot,
    rejected_model,
    rejected_result,
    second_ballot,
    unasked_votes,
    unpriced_ballot,
    withheld_ballot,
)


@dataclass(frozen=True)
class Manipulation:
    """One row of the table.

    Attributes:
        name: What is done.
        check: Which check has to notice.
        act: From an honest run to what is audited: a bundle, and arguments of the audit.
        verdict: What that check has to say.
    """

    name: str
    check: str
    act: Callable[[Scenario], tuple]
    verdict: str = "fail"


TABLE = (
    Manipulation(
        "a false model through a round that was never agreed", "rounds-agreed", crafted_outcome(4)
    ),
    Manipulation(
        "a round that was never agreed, with nobody in it", "survivors-enough", crafted_outcome(4)
    ),
    Manipulation("two outcomes of one round at one member", "rounds-agreed", crafted_outcome(3)),
    Manipulation("an outcome of an earlier round", "rounds-agreed", crafted_outcome(2)),
    Manipulation("a skipped round", "model-chain", rewritten(skipped_round)),
    Manipulation(
        "an invented outcome that all sign", "survivors-enough", rewritten(invented_outcome)
    ),
    Manipulation("two sums over the same updates", "rounds-agreed", rewritten(second_sum)),
    Manipulation("one sum for two rounds", "rounds-agreed", rewritten(one_sum_for_two)),
    Manipulation("two transcripts of one round", "schema", outsider(two_files)),
    Manipulation("more rounds at the end", "run-complete", member(End, {"rounds": 1000})),
    Manipulation("fewer rounds at the end", "run-complete", member(End, {"rounds": 2})),
    Manipulation("too much noise recorded", "noise-planned", mechanism(noise_multiplier=50.0)),
    Manipulation("too little noise recorded", "noise-planned", mechanism(noise_multiplier=1.9)),
    Manipulation("too much noise in a later round", "noise-planned", second_noise),
    Manipulation("fewer steps", "mechanism-agreed", mechanism(steps=1)),
    Manipulation("a smaller clip norm", "mechanism-agreed", mechanism(clip_norm=0.1)),
    Manipulation("a lower sampling rate", "mechanism-agreed", mechanism(sampling_rate=0.1)),
    Manipulation(
        "another accountant in a release", "mechanism-agreed", mechanism(accountant="prv")
    ),
    Manipulation(
        "a smaller delta in a release", "mechanism-agreed", member(Release, {"delta": 1e-9})
    ),
    Manipulation(
        "another adjacency", "mechanism-agreed", mechanism(adjacency="replace one record")
    ),
    Manipulation(
        "a history with another adjacency",
        "units-apart",
        history(adjacency="replace one record of a customer"),
    ),
    Manipulation(
        "a cap with a delta of 0.9",
        "budget-kept",
        member(Start, {"cap": Cap(epsilon=1.0, delta=0.9)}),
    ),
    Manipulation(
        "a cap below the run's delta",
        "budget-kept",
        member(Start, {"cap": Cap(epsilon=30.0, delta=1e-9)}),
    ),
    Manipulation("a cap without its policy", "budget-kept", member(Start, {"policy": None})),
    Manipulation("a policy without its cap", "budget-kept", member(Start, {"cap": None})),
    Manipulation("the same commitment", "commitments-distinct", copied_start("units")),
    Manipulation("the same data set", "commitments-distinct", copied_start("data_set")),
    Manipulation(
        "other versions of the same sources",
        "code-equal",
        member(Start, {"code_version": "9.9.9"}),
        "warn",
    ),
    Manipulation(
        "heads without signatures", "heads-countersigned", outsider(unsigned_heads), "not checked"
    ),
    Manipulation(
        "a head that one signed", "heads-countersigned", outsider(lonely_head), "not checked"
    ),
    Manipulation("updates after a refusal, no noise", "refusals-kept", refused_without_noise),
    Manipulation("a cap where no noise was agreed", "config-agreed", stated_without_noise),
    Manipulation("a number as text", "schema", in_agreement("quorum", str)),
    Manipulation("a truth as a number", "schema", in_agreement("number", lambda _: True)),
    Manipulation("a null in the agreement", "schema", in_agreement("previous", lambda _: None)),
    Manipulation(
        "a time that is none",
        "times-in-order",
        outsider(lambda tree: tree.update(created="2026-99-99T99:99:99Z")),
    ),
    Manipulation(
        "a bundle from the future",
        "times-in-order",
        outsider(lambda tree: tree.update(created="2036-01-01T00:00:00Z")),
    ),
    Manipulation(
        "a bundle older than its entries",
        "times-in-order",
        outsider(lambda tree: tree.update(created="2026-03-01T00:00:00Z")),
    ),
    Manipulation(
        "no result named",
        "model-chain",
        outsider(lambda tree: tree["claims"].update(model=None)),
        "not checked",
    ),
    Manipulation(
        "another model given to the auditor",
        "model-given",
        lambda run: (run.seal(), {"model": FALSE}),
    ),
    Manipulation(
        "a model of another task given to the auditor",
        "model-given",
        lambda run: (run.seal(), {"model": run.model, "model_task": "pricing"}),
    ),
    Manipulation(
        "an earlier round's model handed out under a budget",
        "model-chain",
        lambda run: (replace(run, model=round_model(run, 1)).seal(), {}),
    ),
    Manipulation(
        "another model handed out than was scored",
        "model-chain",
        lambda run: (replace(scored(run), model=round_model(run, 1)).seal(), {}),
    ),
    Manipulation(
        "the model of another round given to the auditor",
        "model-given",
        lambda run: (run.seal(), {"model": round_model(run, 1)}),
        "warn",
    ),
    Manipulation(
        "an epsilon that nothing explains",
        "epsilon-recomputed",
        member(End, {"epsilon_after": 1e308}),
        "not checked",
    ),
    Manipulation("a field that nobody knows", "schema", outsider(unknown_field)),
    Manipulation("a removed event", "entry-chain", outsider(remove_release)),
    Manipulation("a removed event, signed anew", "releases-recorded", rewritten(no_release)),
    Manipulation("a changed sigma", "entry-signatures", outsider(change_sigma)),
    Manipulation(
        "a changed sigma, signed by the cheating member",
        "epsilon-recomputed",
        mechanism(noise_multiplier=0.7),
    ),
    Manipulation("a swapped member", "entry-signatures", outsider(swap_member)),
    Manipulation("truncation of the entries", "log-inclusion", outsider(truncate)),
    Manipulation(
        "truncation of entries and heads",
        "run-complete",
        outsider(truncate_with_heads),
        "not checked",
    ),
    Manipulation("truncation that another auditor does not have", "no-fork", truncated_for_us),
    Manipulation("a fork shown to two auditors", "no-fork", fork),
    Manipulation("reordered events", "log-inclusion", outsider(reorder)),
    Manipulation("a replayed signature", "entry-signatures", outsider(replay_signature)),
    Manipulation("a replayed entry", "entry-chain", outsider(replay_entry)),
    Manipulation("a gap in the sequence", "entry-chain", outsider(gap)),
    Manipulation("a second start", "run-complete", rewritten(started_twice)),
    Manipulation("rounds after the end", "run-complete", rewritten(rounds_after_end)),
    Manipulation(
        "missing countersignatures",
        "heads-countersigned",
        outsider(drop_countersignature),
        "not checked",
    ),
    Manipulation(
        "a forged countersignature", "heads-countersigned", outsider(forge_countersignature)
    ),
    Manipulation("a forged root", "log-inclusion", outsider(forge_root)),
    Manipulation("a broken consistency proof", "log-consistency", outsider(break_consistency)),
    Manipulation("an inclusion proof of another entry", "log-inclusion", outsider(move_inclusion)),
    Manipulation(
        "an agreement changed after signing", "agreement-signed", outsider(change_agreement)
    ),
    Manipulation(
        "an agreement without its quorum", "agreement-signed", outsider(drop_agreement_signature)
    ),
    Manipulation("another agreement than the auditor's", "agreement-pinned", other_agreement),
    Manipulation(
        "a run that began under a replaced agreement",
        "agreement-pinned",
        replaced_agreement(days=10),
    ),
    Manipulation(
        "an agreement that was replaced after the run began",
        "agreement-pinned",
        replaced_agreement(days=-1),
        "warn",
    ),
    Manipulation("a history where no noise was agreed", "config-agreed", history_without_noise),
    Manipulation("priced scores where no noise was agreed", "config-agreed", scored_without_noise),
    Manipulation("a key that is not in the agreement", "entry-signatures", foreign_key),
    Manipulation("a member that is not in the agreement", "members-known", foreign_member),
    Manipulation("another configuration", "config-agreed", member(Start, {"config": FALSE})),
    Manipulation("a release in the clear", "config-agreed", member(Release, {"mode": "plain"}, 2)),
    Manipulation(
        "other sources at one member", "code-equal", member(Start, {"code": FALSE}), "warn"
    ),
    Manipulation(
        "an event from the future",
        "times-in-order",
        lambda run: (run.seal(), {"now": NOW - timedelta(days=3)}),
    ),
    Manipulation(
        "entries that go back in time",
        "times-in-order",
        rewritten(
            lambda script: [
                replace(w, minute=0) if w.member == CHEAT and isinstance(w.event, End) else w
                for w in script
            ]
        ),
    ),
    Manipulation("a release after the round", "releases-recorded", rewritten(release_late)),
    Manipulation("an earlier round trained again", "releases-in-order", rewritten(second_round)),
    Manipulation("an update passed off as a repeat", "releases-in-order", rewritten(false_repeat)),
    Manipulation("a release after a refusal", "refusals-kept", rewritten(refused_and_released)),
    Manipulation(
        "another cohort", "cohort-agreed", member(Release, {"cohort": ("retailer-0", CHEAT)}, 2)
    ),
    Manipulation(
        "survivors below the threshold",
        "survivors-enough",
        member(Outcome, {"survivors": ("retailer-0", CHEAT, "retailer-2")}, 2, None),
    ),
    Manipulation(
        "a survivor that nobody asked",
        "survivors-enough",
        member(Outcome, {"survivors": ("retailer-0", CHEAT, "retailer-2", "stranger")}, 2, None),
    ),
    Manipulation("a lower threshold", "survivors-enough", member(Release, {"threshold": 2}, 2)),
    Manipulation("fewer members than its task needs", "survivors-enough", fewer_than_demanded),
    Manipulation(
        "different survivors at one member",
        "outcomes-equal",
        member(Outcome, {"survivors": ("retailer-0", CHEAT, "retailer-2", "retailer-3")}, 2),
    ),
    Manipulation(
        "a wrong model digest", "outcomes-equal", member(Outcome, {"model_after": FALSE}, 2)
    ),
    Manipulation(
        "an outcome that one member alone saw",
        "outcomes-seen",
        unseen(2, signed=(CHEAT,)),
        "not checked",
    ),
    Manipulation(
        "an outcome that no member saw", "outcomes-seen", unseen(2, signed=()), "not checked"
    ),
    Manipulation(
        "in mode plain, an outcome that one member alone saw",
        "outcomes-seen",
        one_alone_saw_in_plain,
        "not checked",
    ),
    Manipulation(
        "a question that no agreed run asks",
        "questions-refused",
        rewritten(question_refused),
        "not checked",
    ),
    Manipulation("an outcome signed by a member that was not in it", "outcomes-seen", left_out),
    Manipulation(
        "an outcome signed by a member that did not see it",
        "outcomes-seen",
        rewritten(signed_unseen),
    ),
    Manipulation("a first model of the coordinator's making", "model-chain", crafted_start),
    Manipulation(
        "another model for one member", "model-chain", member(Release, {"model_before": FALSE}, 2)
    ),
    Manipulation(
        "another model handed out",
        "model-chain",
        outsider(lambda tree: tree["claims"].update(model=FALSE)),
    ),
    Manipulation(
        "a release without noise", "mechanism-agreed", member(Release, {"mechanism": None}, 2)
    ),
    Manipulation("less noise on scores", *scores(mechanism={"noise_multiplier": 1.0})),
    Manipulation(
        "scores of two models",
        "scores-agreed",
        lambda run: (scored(run, CHEAT, model=round_model(run, 1)).seal(), {}),
    ),
    Manipulation(
        "scores that one member did not record",
        "scores-agreed",
        scored_by(without=(CHEAT,)),
        "not checked",
    ),
    Manipulation(
        "scores that one member alone recorded",
        "scores-agreed",
        scored_by(without=(HONEST, "retailer-2", "retailer-3", "retailer-4")),
        "not checked",
    ),
    Manipulation("scores that may move further", *scores(mechanism={"clip_norm": 1.0})),
    Manipulation("scores at a sampling rate", *scores(mechanism={"sampling_rate": 0.5})),
    Manipulation("scores under other bounds", *scores(scores=FALSE)),
    Manipulation("scores of another model", *scores(model=FALSE)),
    Manipulation("scores of few members", *scores(cohort=("retailer-0", "retailer-1"))),
    Manipulation("scores in a sum of their own number", *scores(round=2)),
    Manipulation(
        "scores that leave twice", "scores-agreed", lambda run: (scored(scored(run)).seal(), {})
    ),
    Manipulation(
        "scores that cost less than they do",
        "epsilon-recomputed",
        lambda run: (scored(run, CHEAT, epsilon_after=0.5).seal(), {}),
    ),
    Manipulation("a larger clip norm", "mechanism-agreed", mechanism(clip_norm=8.0)),
    Manipulation("a higher sampling rate", "mechanism-agreed", mechanism(sampling_rate=0.9)),
    Manipulation("a weaker unit", "mechanism-agreed", mechanism(unit="record")),
    Manipulation("a larger delta", "mechanism-agreed", member(Release, {"delta": 1e-2})),
    Manipulation(
        "a larger delta of the account", "mechanism-agreed", member(Start, {"delta": 1e-2})
    ),
    Manipulation(
        "an epsilon that is not told",
        "budget-continued",
        member(Release, {"epsilon_after": None}, 2),
    ),
    Manipulation(
        "shuffled batches claimed as Poisson", "sampler-accounted", mechanism(sampler="shuffled")
    ),
    Manipulation("the GDP accountant", "accountant-sound", mechanism(accountant="gdp")),
    Manipulation(
        "the testing generator", "randomness-secret", mechanism(rng="AES-256-CTR, TEST KEY")
    ),
    Manipulation(
        "units that are added up",
        "units-apart",
        member(Start, {"history": (STEP.model_copy(update={"unit": "record"}),)}),
    ),
    Manipulation(
        "earlier releases without noise",
        "units-apart",
        member(Start, {"unprotected_before": 3}),
        "not checked",
    ),
    Manipulation(
        "an account that is reset every round", "budget-continued", member(Release, reset_account)
    ),
    Manipulation(
        "an account that is reset every round, priced",
        "epsilon-recomputed",
        member(Release, reset_account),
    ),
    Manipulation("a cheaper history", "epsilon-recomputed", member(Start, cheaper_history)),
    Manipulation("a mechanism without a price", "epsilon-recomputed", mechanism(name="laplace")),
    Manipulation("a budget overspent", "budget-kept", mechanism(noise_multiplier=0.25)),
    Manipulation(
        "a cap overspent",
        "budget-kept",
        member(Start, lambda event: {"cap": event.cap.model_copy(update={"epsilon": 2.0})}),
    ),
    Manipulation("an account that forgets another run", "earlier-runs", reset_with_history),
    Manipulation(
        "an account that forgets releases without noise", "earlier-runs", forgets_unprotected
    ),
    Manipulation(
        "a model of exchanged tensors given to the auditor", "model-given", tensors_exchanged
    ),
    Manipulation(
        "a member that does not say which tensors",
        "model-chain",
        lambda run: (
            run.edited(None, Outcome, {"layout": FALSE})
            .edited(CHEAT, Outcome, {"layout": None})
            .seal(),
            {},
        ),
        "not checked",
    ),
    Manipulation("models of different tensors", "model-chain", different_tensors),
    Manipulation(
        "noise of another kind", "mechanism-agreed", of_integers("release", name="sampled-skellam")
    ),
    Manipulation("a record of two kinds of noise", "mechanisms-known", of_integers("release")),
    Manipulation(
        "a multiplier that its variance does not give",
        "mechanisms-known",
        of_integers("history", name="sampled-skellam", variance=16),
    ),
    Manipulation(
        "an earlier step without noise", "mechanisms-known", history(noise_multiplier=0.0)
    ),
    Manipulation(
        "an earlier step beyond all numbers", "mechanisms-known", history(clip_norm=1e308)
    ),
    Manipulation("earlier steps without end", "mechanisms-known", beside(steps=(1 << 53) - 1)),
    Manipulation("an earlier unit that is none", "mechanisms-known", beside(unit="household")),
    Manipulation(
        "other neighbours of an earlier unit", "mechanisms-known", beside(adjacency="nothing")
    ),
    Manipulation("votes that were never agreed", "votes-counted", unasked_votes),
    Manipulation("a rejection that is counted as acceptance", "votes-counted", miscounted_vote),
    Manipulation("a ballot that another member signed", "votes-counted", exchanged_ballots),
    Manipulation("a ballot that is withheld", "votes-counted", withheld_ballot, "not checked"),
    Manipulation("a member that recorded no vote", "votes-counted", forgotten_vote, "not checked"),
    Manipulation("a round that goes on from a rejected model", "model-chain", rejected_model),
    Manipulation("a rejected model that is handed out", "model-chain", rejected_result),
    Manipulation("a vote with a price that was not agreed", "votes-counted", priced_ballot),
    Manipulation("a ballot on customers that no budget pays", "votes-counted", unpriced_ballot),
    Manipulation("two ballots of one member on one round", "votes-counted", second_ballot),
    Manipulation("a delta too large for the units", "delta-small", more_units),
    Manipulation("a false opening", "delta-small", false_opening),
)
