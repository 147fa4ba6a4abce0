"""What an audit leaves open, said with every verdict."""

from __future__ import annotations

NOT_PROVED: tuple[str, ...] = (
    "That a member trained honestly: a poisoned update in the agreed range looks like any other.",
    "That a member's data are real, or its own.",
    (
        "That a member's program did what its entries say: nobody saw the clipping, sampling and"
        " noise that it signed for. `securefl audit attack` tests an installation for that."
    ),
    (
        "That a member has one book. Who keeps two, or begins a new one, has forgotten what it"
        " spent; the bundle of another run on the same data shows it (--other)."
    ),
    "That members did not all collude: whoever holds every key can sign any history.",
    "That a number of units is right: a commitment binds a member to one number, true or not.",
    (
        "What a run without a budget tells by its metrics: only under a budget do scores leave with"
        " noise, bounded and charged."
    ),
    (
        "What the tensors of a model's file are called, and their shapes, in runs of earlier"
        " versions: members signed the values alone. A signature of the file (--signature) is its"
        " signer's word for them."
    ),
    "That times are right: they are the clocks of those who signed.",
    (
        "That the model before the first round follows from the agreement: every member signs the"
        " one that it computed, and the bundle is compared with these."
    ),
)
"""What is not proved even if every check passes."""
