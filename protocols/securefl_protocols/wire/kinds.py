"""Which kinds of messages there are: by code, and which belong to what kind of session."""

from collections.abc import Mapping

from securefl_protocols.wire.messages import (
    AdvertiseKeys,
    CommittedKeyList,
    CommittedKeys,
    Consistency,
    CoordinatorMessage,
    GraphDraw,
    KeyList,
    LayeredInput,
    LayeredSum,
    LayeredSurvivors,
    LayeredUnmask,
    MaskedInput,
    MemberMessage,
    Message,
    ProvenConsistency,
    ProvenSignatures,
    ProvenSum,
    Reveal,
    RoundSum,
    ShareKeys,
    Shares,
    Signatures,
    SurvivorSet,
    Unmask,
)

MEMBER_MESSAGES: Mapping[int, type[MemberMessage]] = {
    kind.CODE: kind
    for kind in (
        AdvertiseKeys,
        ShareKeys,
        MaskedInput,
        Consistency,
        Unmask,
        LayeredInput,
        LayeredUnmask,
        CommittedKeys,
        Reveal,
        ProvenConsistency,
    )
}
COORDINATOR_MESSAGES: Mapping[int, type[CoordinatorMessage]] = {
    kind.CODE: kind
    for kind in (
        KeyList,
        Shares,
        SurvivorSet,
        Signatures,
        RoundSum,
        LayeredSurvivors,
        LayeredSum,
        CommittedKeyList,
        GraphDraw,
        ProvenSignatures,
        ProvenSum,
    )
}

WITH_LAYERS: frozenset[type[Message]] = frozenset(
    (LayeredInput, LayeredUnmask, LayeredSurvivors, LayeredSum)
)
WITHOUT_LAYERS: frozenset[type[Message]] = frozenset((MaskedInput, Unmask, SurvivorSet, RoundSum))
"""Whose place those take where noise may be taken back."""

WITH_DRAW: frozenset[type[Message]] = frozenset(
    (CommittedKeys, Reveal, CommittedKeyList, GraphDraw)
)
WITHOUT_DRAW: frozenset[type[Message]] = frozenset((AdvertiseKeys, KeyList))
"""Whose place the first and the third of those take where the members draw a graph."""

WITH_NORMS: frozenset[type[Message]] = frozenset((ProvenConsistency, ProvenSignatures, ProvenSum))
WITHOUT_NORMS: frozenset[type[Message]] = frozenset((Consistency, Signatures, RoundSum))
"""Whose place those take where norms are proved."""
