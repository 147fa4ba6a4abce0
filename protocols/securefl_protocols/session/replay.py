"""Replaying a transcript: the audit of one sum, without keys and without the coordinator."""

from securefl_protocols.primitives.errors import ProtocolError, RemoteProtocolError
from securefl_protocols.session.dropouts import Dropout
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.results import RoundResult
from securefl_protocols.session.server import ServerSession
from securefl_protocols.wire.context import SessionContext
from securefl_protocols.wire.roster import Roster
from securefl_protocols.wire.transcript import Transcript


def replay(
    transcript: Transcript,
    *,
    plan: SessionPlan,
    roster: Roster,
    context: SessionContext,
    model: bytes,
    threads: int = 1,
) -> RoundResult:
    """Recompute the sum of a round from what its members signed.

    Args:
        transcript: The transcript, from anybody.
        plan: The plan that the consortium agreed on.
        roster: The pinned roster.
        context: Consortium, run and plan.
        model: 32 bytes, the digest of the model that the round is to have started from.
        threads: How many threads expand masks.

    Returns:
        The sum and the survivors; compare them with what was announced.

    Raises:
        RemoteProtocolError: The transcript is not one of an honest round on that model.
    """
    number, recorded_model = transcript.round
    if recorded_model != model:
        raise RemoteProtocolError("the transcript is that of another model")
    opening_number, opening_model = transcript.opening
    server = ServerSession(
        plan=plan,
        roster=roster,
        context=context,
        number=opening_number,
        model=opening_model,
        threads=threads,
    )
    try:
        for place, messages in enumerate(transcript.messages):
            if place == len(transcript.messages) - 4:
                server.begin_round(number, model)
            for member, message in sorted(messages.items()):
                _require_taken(server.receive(member, message))
            server.end_step()
    except ProtocolError as error:
        raise RemoteProtocolError(f"the transcript does not replay: {error}") from error
    return server.result()


def _require_taken(drop: Dropout | None) -> None:
    if drop is not None:
        raise RemoteProtocolError(f"{drop.reason.value}: {drop.detail}", drop.member)
