"""Secure aggregation among members that trust neither each other nor the coordinator.

A member runs a `ClientSession`, the coordinator a `ServerSession`, both under the `SessionPlan`
that the members agreed on and the pinned `Roster`. The coordinator learns the sum of the
members' vectors and nothing else; `replay` verifies the signed `Transcript` of a round and
recomputes its sum, for any party and without keys. The protocol is that of Bonawitz et al. 2017
against a malicious server, on the graphs of Bell et al. 2020; docs/specification/protocol.md
specifies it.

The package is sans-I/O: messages go in, messages come out, and the caller brings the entropy and
the network. It imports `cryptography`, `numpy` and `msgpack`, nothing else. Names that are not
exported here may change without notice.
"""

from securefl_protocols.primitives.errors import (
    ChecksumFailed,
    DisputedPair,
    LocalProtocolError,
    PlanError,
    ProtocolError,
    RangeError,
    RemoteProtocolError,
    TooFewSurvivors,
)
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.client import ClientSession, ClientState
from securefl_protocols.session.dropouts import Dropout, DropoutReason, ServerStep
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.replay import replay
from securefl_protocols.session.results import RoundResult
from securefl_protocols.session.server import ServerSession
from securefl_protocols.wire.context import SessionContext
from securefl_protocols.wire.roster import Roster
from securefl_protocols.wire.transcript import Transcript

__all__ = [
    "ChecksumFailed",
    "ClientSession",
    "ClientState",
    "DisputedPair",
    "Dropout",
    "DropoutReason",
    "LocalProtocolError",
    "PlanError",
    "ProtocolError",
    "RangeError",
    "RemoteProtocolError",
    "RingDtype",
    "Roster",
    "RoundResult",
    "ServerSession",
    "ServerStep",
    "SessionContext",
    "SessionPlan",
    "SigningKey",
    "TooFewSurvivors",
    "Transcript",
    "replay",
]
