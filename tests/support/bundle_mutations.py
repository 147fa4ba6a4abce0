"""What somebody may do to a bundle, and the check that has to notice.

An outsider edits the bundle. A cheating member changes what it writes and signs it with its own
key; the coordinator is its accomplice and builds the log anew, and the other members countersign
what they are shown.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from securefl.audit.bundle.bundle import Opening, parse
from securefl.consortium.ledger.events import End, Outcome, Refusal, Release, Start
from securefl_protocols.primitives.signing import SigningKey
from support.bundle_scenario import NOW, SALT, STEP, Scenario, Written, honest, scored

CHEAT = "retailer-1"
HONEST = "retailer-0"
FALSE = "f" * 64


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


def outsider(edit):
    """Somebody without a key edits the file."""

    def act(run):
        tree = copy.deepcopy(run.seal().to_json())
        edit(tree)
        return parse(tree), {}

    return act


def member(kind, update, number=None, who=CHEAT):
    """A member writes something else, or all of them do (`who` is None)."""
    return lambda run: (run.edited(who, kind, update, number).seal(), {})


def mechanism(**fields):
    """A member records another mechanism."""
    return member(Release, lambda event: {"mechanism": STEP.model_copy(update=fields)})


def scores(**fields):
    """A member records other scores than the agreed ones."""
    return "scores-agreed", lambda run: (scored(run, CHEAT, **fields).seal(), {})


def rewritten(change):
    """The script is changed, and everybody signs what comes out."""
    return lambda run: (run.changed(change).seal(), {})


def entry_at(tree, kind, who, number=None):
    return next(
        e
        for e in tree["entries"]
        if (e["entry"]["event"]["kind"], e["entry"]["member"]) == (kind, who)
        and number in {None, e["entry"]["event"].get("round")}
    )


def remove_release(tree):
    tree["entries"].remove(entry_at(tree, "release", CHEAT, 2))


def change_sigma(tree):
    entry_at(tree, "release", CHEAT)["entry"]["event"]["mechanism"]["noise_multiplier"] = 9.0


def swap_member(tree):
    entry_at(tree, "release", CHEAT)["entry"]["member"] = HONEST


def truncate(tree):
    del tree["entries"][-7:]


def truncate_with_heads(tree):
    head = tree["heads"][1]
    del tree["heads"][2:], tree["entries"][head["head"]["head"]["size"] :]
    tree["inclusion"] = []


def reorder(tree):
    entries = tree["entries"]
    entries[6], entries[7] = entries[7], entries[6]


def replay_signature(tree):
    first, second = (entry_at(tree, "release", CHEAT, number) for number in (1, 2))
    second["signature"] = first["signature"]


def replay_entry(tree):
    tree["entries"].append(entry_at(tree, "release", CHEAT, 1))


def drop_countersignature(tree):
    for member_name in ("retailer-1", "retailer-2"):
        del tree["heads"][-1]["head"]["signatures"][member_name]


def forge_countersignature(tree):
    signatures = tree["heads"][1]["head"]["signatures"]
    signatures["retailer-1"] = signatures["retailer-2"]


def forge_root(tree):
    tree["heads"][1]["head"]["head"]["root"] = FALSE


def break_consistency(tree):
    tree["heads"][2]["consistency"] = tree["heads"][2]["consistency"][:-1]


def move_inclusion(tree):
    tree["inclusion"][0]["index"] -= 1


def change_agreement(tree):
    tree["agreement"]["agreement"]["config"]["privacy"]["epsilon"] = 50.0


def drop_agreement_signature(tree):
    del tree["agreement"]["signatures"][CHEAT]


def unknown_field(tree):
    tree["entries"][0]["entry"]["event"]["note"] = "trust me"


def other_agreement(run):
    """The whole bundle is under an agreement of the coordinator's own making."""
    mine = honest(rounds=1, masked=False).consortium.signed
    return run.seal(), {"agreement": mine}


def foreign_key(run):
    """A member's entries are signed with a key that is not in the agreement."""
    keys = run.keys | {CHEAT: SigningKey(bytes([99] * 32))}
    return replace(run, keys=keys).seal(), {}


def foreign_member(run):
    """Somebody writes entries who is not in the agreement."""
    keys = run.keys | {"stranger": SigningKey(bytes([98] * 32))}
    start = next(w for w in run.script if isinstance(w.event, Start))
    script = [*run.script, replace(start, member="stranger", minute=20), Written(None, None, 21)]
    return replace(run, keys=keys, script=script).seal(), {}


def fork(run):
    """Another auditor was shown a log in which a round ended with another model."""
    other = run.edited(None, Outcome, {"model_after": FALSE}, 2)
    return run.seal(), {"other": other.seal()}


def truncated_for_us(run):
    """Another auditor has more of the log."""
    tree = run.seal().to_json()
    truncate_with_heads(tree)
    return parse(tree), {"other": run.seal()}


def no_release(script):
    return [w for w in script if (w.member, getattr(w.event, "round", 0)) != (CHEAT, 2)]


def release_late(script):
    place = next(
        i for i, w in enumerate(script) if w.member == CHEAT and isinstance(w.event, Release)
    )
    late = script.pop(place)
    after = next(i for i, w in enumerate(script) if w.member is None)
    script.insert(after, replace(late, minute=3))
    return script


def gap(tree):
    for signed in tree["entries"]:
        entry = signed["entry"]
        if entry["member"] == CHEAT and entry["sequence"] >= 2:
            entry["sequence"] += 1


def started_twice(script):
    start = next(w for w in script if w.member == CHEAT)
    return [*script[:-1], replace(start, minute=40), Written(None, None, 40)]


def second_round(script):
    """The member goes back to round 1 after round 2."""
    release = next(w for w in script if w.member == CHEAT and getattr(w.event, "round", 0) == 1)
    event = release.event.model_copy(update={"epsilon_before": 9.0, "epsilon_after": 9.0})
    return [*script[:-1], replace(release, event=event, minute=40), Written(None, None, 40)]


def false_repeat(script):
    """A second update is passed off as the first one, which costs nothing."""
    place = next(
        i for i, w in enumerate(script) if w.member == CHEAT and getattr(w.event, "round", 0) == 2
    )
    free = {"mechanism": None, "delta": None, "epsilon_before": None, "epsilon_after": None}
    event = script[place].event.model_copy(update={**free, "repeat_of": 1})
    script.insert(place + 1, replace(script[place], event=event))
    return script


def reset_account(event):
    """Each round is priced as if it were the first."""
    first = 1.1
    return {"epsilon_before": 0.0, "epsilon_after": first}


def reset_with_history(run):
    """The next run on the same data knows nothing of this one."""
    later = honest(rounds=1, masked=False)
    later.script = [replace(w, minute=w.minute + 600) for w in later.script]
    later.consortium = replace_run(later)
    return later.seal(), {"other": run.seal()}


def replace_run(scenario):
    return type(scenario.consortium)(scenario.consortium.signed, bytes(range(50, 82)))


def refused_and_released(script):
    place = next(
        i for i, w in enumerate(script) if w.member == CHEAT and getattr(w.event, "round", 0) == 2
    )
    refusal = Refusal(round=2, reason="budget", asked=5.0, allowed=4.0)
    script.insert(place, Written(CHEAT, refusal, 4))
    return script


def more_units(run):
    """The member has more customers than one over delta."""
    many = replace(run, openings=(Opening(member=CHEAT, units=200_000, salt=SALT.hex()),))
    from securefl.consortium.ledger.digests import units_commitment

    return many.edited(CHEAT, Start, {"units": units_commitment(200_000, SALT)}).seal(), {}


def false_opening(run):
    opened = replace(run, openings=(Opening(member=CHEAT, units=100, salt=SALT.hex()),))
    return opened.seal(), {}


def cheaper_history(event):
    """Earlier runs are in the account, at a price that they did not have."""
    return {"history": (STEP.model_copy(update={"steps": 60}),), "epsilon_before": 2.0}


def rounds_after_end(script):
    end = next(i for i, w in enumerate(script) if w.member == CHEAT and isinstance(w.event, End))
    release = next(
        i for i, w in enumerate(script) if w.member == CHEAT and getattr(w.event, "round", 0) == 3
    )
    script.insert(release, replace(script.pop(end), minute=6))
    return script


TABLE = (
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
        "truncation of entries and heads", "run-complete", outsider(truncate_with_heads), "warn"
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
        "a missing countersignature", "heads-countersigned", outsider(drop_countersignature)
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
    Manipulation(
        "different survivors at one member",
        "outcomes-equal",
        member(Outcome, {"survivors": ("retailer-0", CHEAT, "retailer-2", "retailer-3")}, 2),
    ),
    Manipulation(
        "a wrong model digest", "outcomes-equal", member(Outcome, {"model_after": FALSE}, 2)
    ),
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
    Manipulation("a delta too large for the units", "delta-small", more_units),
    Manipulation("a false opening", "delta-small", false_opening),
)
