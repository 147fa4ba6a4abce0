"""What each field of everything that leaves a member, or is written of it, may hold under a budget.

A field that is not in these tables is refused: `test_what_members_say.py` compares them with the
message classes, the ledger's events and the classes of results, round records and statuses, and
compares fields between two data sets that differ in a customer.
"""

from __future__ import annotations

from enum import Enum


class Holds(Enum):
    """What a field is a function of."""

    PUBLIC = "the agreement, the question and public events: equal for all data"
    NOISED = "a release: charged, noised, of a length that is public"
    SEALED = "masked or encrypted for others, of a length that is public"
    RANDOM = "keys, salts, signatures, clocks and digests of these"
    WORDS = "an error's text, which a member on a machine of its own does not send"
    CLEAR = "exact, only in mode plain without a budget; under one it is absent or constant"
    OBSERVED = "exact, computed by the observer of a simulation, and labelled so"


P, N, S, R = Holds.PUBLIC, Holds.NOISED, Holds.SEALED, Holds.RANDOM
W, C, O = Holds.WORDS, Holds.CLEAR, Holds.OBSERVED  # noqa: E741 - a column of a table

MESSAGES = {
    "update": {"round": P, "samples": P, "change": N, "loss": P},
    "protocol": {"round": P, "payload": S},
    "score-protocol": {"round": P, "payload": S},
    "sum-verified": {"round": P, "signature": R},
    "scores": {"tallies": C},
    "ballot": {"round": P, "ballot": N, "signature": R},
    "alone": {"best_round": C, "tallies": C},
    "entries": {"entries": P, "signed": P},
    "countersigned": {"signature": R},
    "refused": {"round": P, "reason": P, "text": P, "entries": P},
    "spent": dict.fromkeys(
        (
            *("epsilon", "noise_multiplier", "clip_norm", "sampling_rate", "steps"),
            *("customer_epsilon", "two_retailers_epsilon", "life", "cap", "cap_delta"),
            "score_noise",
        ),
        P,
    ),
    "done": {},
    "lacking": {},
    "absent": {},
    "failure": {"error": P, "text": W, "blames": P},
}
"""By the kind of a message that a member sends; `entries` is compared by event, see below."""

EVENTS = {
    "start": {
        **dict.fromkeys(("config", "code", "data_set", "units", "start_model"), R),
        **dict.fromkeys(("code_version", "policy", "unit", "delta", "accountant", "cap"), P),
        **dict.fromkeys(("epsilon_before", "history", "unprotected_before", "other_units"), P),
    },
    "release": {
        "model_before": R,
        **dict.fromkeys(("round", "mode", "dp", "threshold", "cohort", "mechanism", "delta"), P),
        **dict.fromkeys(("epsilon_before", "epsilon_after", "repeat_of"), P),
    },
    "score-release": {
        "model": R,
        **dict.fromkeys(("round", "scores", "threshold", "cohort", "mechanism", "delta"), P),
        **dict.fromkeys(("epsilon_before", "epsilon_after"), P),
    },
    "outcome": {"round": P, "survivors": P, "model_after": R, "transcript": R, "layout": P},
    "unseen-outcome": {"round": P, "reason": P},
    "ballot": {
        "model": R,
        "ballot": N,
        **dict.fromkeys(("round", "mechanism", "delta", "epsilon_before", "epsilon_after"), P),
    },
    "vote": {"round": P, "model": R, "ballots": N, "rejected": N},
    "refusal": {"round": P, "reason": P, "asked": P, "allowed": P},
    "refused-question": {"question": P, "phase": P, "reason": P},
    "end": {"rounds": P, "epsilon_after": P},
}
"""By the kind of a ledger event; a member signs them and the log shows them to all members."""

RESULTS = {
    "RunResult": {
        **dict.fromkeys(("task", "mode", "seed", "rounds", "best_round", "members"), P),
        **dict.fromkeys(("privacy", "refusals", "history", "simulation_only"), P),
        **dict.fromkeys(("seconds", "run_dir", "ledger"), R),
        "metrics": O,
        "scores": P,
        "left_out": P,
        "start": P,
        "unscored": P,
        "votes": N,
        "discloses": P,
        "agreed_rounds": P,
    },
    "RoundVote": {"round": P, "rejected": N, "said": N, "absent": P},
    "StartChange": dict.fromkeys(("model", "products", "new", "removed", "kept"), P),
    "MemberResult": {"name": P, "samples": P, "metrics": O},
    "Refusal": {"member": P, "round": P, "reason": P},
    "LeftOut": {"member": P, "rounds": P, "reason": P},
    "Unscored": {"rounds": P, "reason": P},
    "RoundCost": {
        "seconds": R,
        **dict.fromkeys(("round", "survivors", "bytes_up", "bytes_down", "epsilon"), P),
    },
    "RunPrivacy": dict.fromkeys(
        (
            *("unit", "protects", "records_per_customer", "adjacency", "mechanism", "against"),
            *("accountant", "delta", "members"),
        ),
        P,
    ),
    "MemberPrivacy": {"name": P, **MESSAGES["spent"]},
    "ReleasedScores": {
        "arms": N,
        **dict.fromkeys(("survivors", "epsilon", "noise_multiplier", "withheld"), P),
    },
    "ReleasedScore": {"value": N, "standard_error": N},
    "RoundRecord": {
        "seconds": R,
        "transcript": R,
        **dict.fromkeys(("round", "cohort", "survivors", "loss", "validation", "best"), P),
        **dict.fromkeys(("epsilon", "customer_epsilon", "refused", "left_out", "unscored"), P),
        **dict.fromkeys(("bytes_up", "bytes_down"), P),
        "sum": R,
        "unusual": R,
        "vote": N,
        "model": R,
    },
    "SumFigures": dict.fromkeys(("norm", "layers", "row", "row_score", "samples", "bound"), R),
    "Vote": {"ballots": N, "signatures": R, "absent": P, "rejected": N},
    "RunStatus": {
        "written": R,
        "run": R,
        **dict.fromkeys(("ended", "broker_heard", "epsilon_at", "since", "model", "unusual"), R),
        "vote": N,
        **dict.fromkeys(("connected", "agreement", "round", "rounds", "state", "trouble"), P),
        **dict.fromkeys(("epsilon", "cap", "sums", "faults", "needed", "steps", "members"), P),
    },
    "MemberStatus": {
        **dict.fromkeys(("heard", "asked_at"), R),
        **dict.fromkeys(("name", "at", "asked", "away", "bytes_down", "bytes_up", "left_out"), P),
        **dict.fromkeys(("unusable", "given_up"), P),
    },
    "SumFact": {"round": P, "verdict": P, "members": P, "at": R},
    "FaultFact": {"code": P, "says": P, "todo": P, "since": R},
    "StepFact": {
        **dict.fromkeys(("began", "ended"), R),
        **dict.fromkeys(("step", "asked", "answered", "waits", "gone"), P),
    },
}
"""By the class of what a coordinator writes: result.json, metrics.jsonl and status.json."""
