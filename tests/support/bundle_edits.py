"""Edits of an honest run: what an outsider does to the file, and what a member signs falsely."""

import copy
from dataclasses import replace
from datetime import timedelta

from securefl.audit.bundle.bundle import Opening, parse
from securefl.audit.verify import OtherBundle
from securefl.consortium.agreement.model import Agreement, to_tree
from securefl.consortium.agreement.signatures import signed_by
from securefl.consortium.ledger.event_base import SkellamMechanism
from securefl.consortium.ledger.events import (
    Cap,
    End,
    Outcome,
    Refusal,
    RefusedQuestion,
    Release,
    ScoreRelease,
    Start,
    UnseenOutcome,
)
from securefl.consortium.ledger.hash_chain import timestamp
from securefl.ml.vectors import layout_digest
from securefl_protocols.primitives.signing import SigningKey
from support.bundle_scenario import BEGIN, SALT, STEP, Written, honest, scored

CHEAT = "retailer-1"
HONEST = "retailer-0"
FALSE = "f" * 64


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


def question_refused(script):
    """The coordinator asks a member what no agreed run asks, and it refuses."""
    event = RefusedQuestion(question="train before the round", phase="round 2", reason="model")
    place = next(i for i, w in enumerate(script) if w.member == CHEAT and isinstance(w.event, End))
    script.insert(place, replace(script[place], event=event))


def one_alone_saw_in_plain(run):
    """In mode plain, one member alone signs a false last model, and the others did not see it."""
    plain = honest(rounds=2, masked=False)
    false = plain.edited(CHEAT, Outcome, {"model_after": FALSE, "survivors": (CHEAT,)}, 2)

    def change(script):
        return [
            replace(w, event=UnseenOutcome(round=2))
            if isinstance(w.event, Outcome) and w.event.round == 2 and w.member != CHEAT
            else w
            for w in script
        ]

    return replace(false.changed(change), model=FALSE).seal(), {}


def scored_by(*, without):
    """Only some members record that scores left."""

    def change(script):
        return [
            w for w in script if not (w.member in without and isinstance(w.event, ScoreRelease))
        ]

    return lambda run: (scored(run).changed(change).seal(), {})


def replaced_agreement(*, days):
    """The auditor's agreement replaced the run's so many days before the run began."""

    def act(run):
        tree = to_tree(run.consortium.signed.agreement)
        tree |= {"number": 2, "previous": run.consortium.signed.digest().hex()}
        tree["created"] = timestamp(BEGIN - timedelta(days=days))
        new = signed_by(Agreement.model_validate(tree), run.keys)
        return run.seal(), {"agreement": new}

    return act


def history_without_noise(run):
    """An account is stated where no noise was agreed: of earlier mechanisms of the run's unit."""
    return honest(private=False, masked=False).edited(CHEAT, Start, {"history": (STEP,)}).seal(), {}


def scored_without_noise(run):
    """Scores leave with a price where no noise was agreed."""
    private = scored(honest(rounds=1, masked=False))
    release = next(w.event for w in private.script if isinstance(w.event, ScoreRelease))

    def change(script):
        place = next(i for i, w in enumerate(script) if isinstance(w.event, End))
        script.insert(place, replace(script[place], event=release))

    return honest(rounds=1, masked=False, private=False).changed(change).seal(), {}


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
    return run.seal(), {"others": (OtherBundle(other.seal()),)}


def truncated_for_us(run):
    """Another auditor has more of the log."""
    tree = run.seal().to_json()
    truncate_with_heads(tree)
    return parse(tree), {"others": (OtherBundle(run.seal()),)}


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
    return later.seal(), {"others": (OtherBundle(run.seal()),)}


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


def round_model(run, number):
    """The digest of the model that a round ended with."""
    outcomes = (w.event for w in run.script if isinstance(w.event, Outcome))
    return next(outcome.model_after for outcome in outcomes if outcome.round == number)


def crafted_outcome(number, survivors=(), **also):
    """The coordinator hands out a false model, and one member signs how it came about."""

    def change(script):
        end = next(
            i for i, w in enumerate(script) if w.member == CHEAT and isinstance(w.event, End)
        )
        event = Outcome(round=number, survivors=survivors, model_after=FALSE, transcript=None)
        script.insert(end, replace(script[end], event=event.model_copy(update=also)))
        counted = script[end + 1].event.model_copy(update={"rounds": min(number, 3)})
        script[end + 1] = replace(script[end + 1], event=counted)

    return lambda run: (replace(run.changed(change), model=FALSE).seal(), {})


def skipped_round(script):
    """Nobody signs the end of round 2, and round 3 starts from a crafted model."""
    kept = []
    for written in script:
        event = written.event
        if isinstance(event, Outcome) and event.round == 2:
            continue
        if isinstance(event, Release) and event.round == 3:
            crafted = event.model_copy(update={"model_before": FALSE})
            kept.append(replace(written, event=crafted))
        else:
            kept.append(written)
    return kept


def invented_outcome(script):
    """All members sign an outcome of round 2 that nobody trained."""
    return [
        replace(w, event=w.event.model_copy(update={"survivors": (), "transcript": FALSE}))
        if isinstance(w.event, Outcome) and w.event.round == 2
        else w
        for w in script
        if not (isinstance(w.event, Release) and w.event.round == 2)
    ]


def unseen(number, *, signed):
    """Of the members, only these signed how a round ended; the others say they did not see it."""

    def change(script):
        return [
            replace(w, event=UnseenOutcome(round=number))
            if isinstance(w.event, Outcome) and w.event.round == number and w.member not in signed
            else w
            for w in script
        ]

    return lambda run: (run.changed(change).seal(), {})


def signed_unseen(script):
    """A member signs an outcome after it has said that it did not see the round end."""
    place = next(
        i
        for i, w in enumerate(script)
        if w.member == CHEAT and isinstance(w.event, Outcome) and w.event.round == 2
    )
    script.insert(place, replace(script[place], event=UnseenOutcome(round=2)))


def left_out(run):
    """A round without one member, which signs how it ended all the same."""
    others = tuple(name for name in run.keys if name != CHEAT)
    return run.edited(None, Outcome, {"survivors": others}, 2).seal(), {}


def crafted_start(run):
    """All but one member train a first model of the coordinator's making."""
    honest_one = "retailer-0"
    kept = [
        w
        for w in run.script
        if not (
            w.member == honest_one and isinstance(w.event, Release | Outcome) and w.event.round == 1
        )
    ]
    crafted = replace(run, script=kept).edited(None, Release, {"model_before": FALSE}, 1)
    for name in run.keys:
        if name != honest_one:
            crafted = crafted.edited(name, Start, {"start_model": FALSE})
    return crafted.seal(), {}


def second_sum(script):
    """Every member signs a second sum of round 2, over other survivors."""
    names = tuple(dict.fromkeys(w.member for w in script if w.member))
    place = max(i for i, w in enumerate(script) if getattr(w.event, "round", 0) == 2) + 1
    told = [w for w in script if isinstance(w.event, Outcome) and w.event.round == 2]
    script[place:place] = [
        replace(w, event=w.event.model_copy(update={"survivors": names[:4], "transcript": FALSE}))
        for w in told
    ]


def fewer_than_demanded(run):
    """In mode plain, a round over fewer members than the agreement demands for its task."""
    plain = honest(masked=False, least={"recommendation": 5})
    four = tuple(plain.keys)[:4]
    return plain.edited(None, Outcome, {"survivors": four}, 2).seal(), {}


def one_sum_for_two(script):
    first = next(w.event for w in script if isinstance(w.event, Outcome))
    return [
        replace(w, event=w.event.model_copy(update={"transcript": first.transcript}))
        if isinstance(w.event, Outcome) and w.event.round == 2
        else w
        for w in script
    ]


def two_files(tree):
    tree["transcripts"].append(tree["transcripts"][0])


def copied_start(field):
    """All members record what the first one did."""

    def change(script):
        first = next(w.event for w in script if isinstance(w.event, Start))
        return [
            replace(w, event=w.event.model_copy(update={field: getattr(first, field)}))
            if isinstance(w.event, Start)
            else w
            for w in script
        ]

    return rewritten(change)


def unsigned_heads(tree):
    for linked in tree["heads"][:-1]:
        linked["head"]["signatures"] = {}


def lonely_head(tree):
    signatures = tree["heads"][1]["head"]["signatures"]
    for name in list(signatures)[1:]:
        del signatures[name]


def refused_without_noise(run):
    """A member refuses the run, and its updates leave in every round; nothing was noised."""
    plain = honest(private=False)

    def change(script):
        place = next(
            i for i, w in enumerate(script) if w.member == CHEAT and isinstance(w.event, Release)
        )
        refusal = Refusal(round=0, reason="mode", asked=None, allowed=None)
        script.insert(place, Written(CHEAT, refusal, 1))

    return plain.changed(change).seal(), {}


def stated_without_noise(run):
    """An epsilon is recorded where no noise was agreed."""
    plain = honest(private=False)
    return plain.edited(CHEAT, Start, {"cap": Cap(epsilon=1.0, delta=1e-6)}).seal(), {}


def in_agreement(name, value):
    def edit(tree):
        agreed = tree["agreement"]["agreement"]
        agreed[name] = value(agreed.get(name))

    return outsider(edit)


def history(**fields):
    """A member's account has an earlier run in it, told otherwise than it was."""
    earlier = STEP.model_copy(update={"steps": 4, **fields})
    return member(Start, {"history": (earlier,), "epsilon_before": 30.0})


def beside(**fields):
    """A member's account has an earlier mechanism for another privacy unit, told otherwise."""
    earlier = {"unit": "record", "adjacency": "add or remove one record", **fields}
    return member(Start, {"other_units": (STEP.model_copy(update=earlier),)})


def of_integers(run_or_history, **fields):
    """A mechanism with the fields of Skellam noise, in a release or in a history."""
    fields = {"variance": 9, "sensitivity": 1.5, "coordinates": 6, **fields}
    mixed = SkellamMechanism(**{**STEP.model_dump(), **fields})
    if run_or_history == "release":
        return member(Release, {"mechanism": mixed})
    return member(Start, {"history": (mixed,), "epsilon_before": 30.0})


def forgets_unprotected(run):
    """The next run on the same data does not count that an earlier one had no noise."""
    later, _ = reset_with_history(run)
    bare = honest(rounds=1, masked=False, private=False)
    for written in bare.script:
        if isinstance(written.event, Start):
            data_set = next(
                signed.entry.event.data_set
                for signed in later.entries
                if signed.entry.member == written.member
            )
            bare = bare.edited(written.member, Start, {"data_set": data_set})
    return later, {"others": (OtherBundle(bare.seal()),)}


def different_tensors(run):
    """One round ended with a model of other tensors than the others did."""
    others = run.edited(None, Outcome, {"layout": "ab" * 32})
    return others.edited(None, Outcome, {"layout": FALSE}, 2).seal(), {}


def tensors_exchanged(run):
    """A model with the right values is given to the auditor, and other names of its tensors."""
    signed = layout_digest([("item", (3,)), ("user", (3,))]).hex()
    given = layout_digest([("user", (3,)), ("item", (3,))]).hex()
    bundle = run.edited(None, Outcome, {"layout": signed}).seal()
    return bundle, {"model": run.model, "model_layout": given}


def missed(run, survivors=None):
    """A member was not in the second round, and so did not see how it ended."""
    others = survivors or tuple(name for name in run.keys if name != CHEAT)
    shorter = run.edited(None, Outcome, {"survivors": others}, 2)
    return shorter.changed(
        lambda script: [
            replace(w, event=UnseenOutcome(round=2))
            if w.member == CHEAT and isinstance(w.event, Outcome) and w.event.round == 2
            else w
            for w in script
        ]
    )


def second_noise(run):
    """From round 2 on a member records another noise than the plan's."""
    changed = STEP.model_copy(update={"noise_multiplier": 50.0})
    return run.edited(CHEAT, Release, {"mechanism": changed}, 2).seal(), {}
