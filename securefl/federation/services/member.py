"""A member as a service on its own machine: its own tables, ledger and journal."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, cast

from securefl.consortium.agreement.versions import remember
from securefl.consortium.ledger.journal_fence import fence_of
from securefl.consortium.ledger.policy import Policy
from securefl.errors import AgreementError, InputError
from securefl.federation.member.journal import MemberJournal
from securefl.federation.member.refusing import RefusingMember
from securefl.federation.runs.folder_lock import locked
from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.durable_writes import JournalMemory, insist
from securefl.federation.services.member_presence import (
    BROKER,
    STARTING,
    Carrier,
    Presence,
    appearing,
)
from securefl.federation.services.member_process import (
    MemberEnd,
    MemberProcess,
    QuestionEntropy,
)
from securefl.federation.services.member_status import MemberStatusFile
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.session_keys import RunKeys
from securefl.ml.cpu import keep_freed_memory
from securefl.privacy.mechanisms import mechanism_for

if TYPE_CHECKING:
    from securefl.federation.member.member import Member
    from securefl.federation.member.own_figures import OwnFigures


@dataclass(frozen=True)
class MemberPaths:
    """A member's own files.

    Attributes:
        state: Folder of its journal and of its local part of the model.
        books: Folder of its ledger.
        policy: Its policy; None allows everything.
        data: Folder with its own tables; None where a package has them.
        earlier: Its own model of the run that this one goes on from; None where it begins anew.
    """

    state: Path
    books: Path
    policy: Policy | None
    data: Path | None
    earlier: Path | None = None


def folder_of_run(context: ConnectionContext, state: Path) -> Path:
    """Return the folder of one run in a member's state folder."""
    return state / context.run.id.hex()[:16]


def serve(
    context: ConnectionContext, paths: MemberPaths, carrier: Carrier = BROKER
) -> OwnFigures | None:
    """Take part in a run until the coordinator releases the member.

    A disk that takes nothing is waited for, at the start as during the run.

    Args:
        context: The agreement and the member's key.
        paths: Its own files.
        carrier: What carries its messages; the agreed broker if not given.

    Returns:
        The member's own figures, which nobody else gets; None where there is no result.

    Raises:
        RunDirectoryError: If another process of this member is in the run, or its files cannot be
            written before a person does something.
        SecureflError: Any other user-facing error, as one line.
    """
    if context.name is None:
        raise AgreementError("this is the coordinator's key; a member has one of its own")
    _check_earlier(context, paths.earlier)
    # Before all else: an older version of the agreement than one that was seen is refused.
    insist(lambda: remember(paths.state, context.signed), _unheard)
    keep_freed_memory()
    with ExitStack() as opened:
        journal, keys = _opened(context, paths, opened)
        return _present(context, paths, journal, keys, carrier)


def _check_earlier(context: ConnectionContext, earlier: Path | None) -> None:
    """Refuse a wrong earlier model before anybody is waited for.

    Raises:
        InputError: If it is none, or the run goes on from none.
    """
    if earlier is None:
        return
    if context.number == 1 and not context.config.goes_on:
        raise InputError(
            f"{earlier} would not be read: this agreement's run goes on from no model (start.model)"
        )
    from securefl.tasks.served.earlier_model import shared_folder  # with it comes torch

    shared_folder(earlier)


def _opened(
    context: ConnectionContext, paths: MemberPaths, opened: ExitStack
) -> tuple[MemberJournal, RunKeys]:
    """Open the durable state of this member in the run, as soon as the disk lets us."""
    place, key, run = folder_of_run(context, paths.state), context.key, context.run.id
    name = context.name
    assert name is not None
    # What is in the folder is sealed, but for names.
    insist(lambda: place.mkdir(parents=True, exist_ok=True, mode=0o700), _unheard)
    insist(lambda: opened.enter_context(locked(place)), _unheard)
    # The ledger in it is opened for the first charge alone, which is minutes later.
    insist(lambda: paths.books.mkdir(parents=True, exist_ok=True), _unheard)
    journal = insist(lambda: MemberJournal(place, key.secret(), run), _unheard)
    opened.enter_context(closing(journal))
    keys = insist(lambda: RunKeys(place, key, run, name), _unheard)
    return journal, opened.enter_context(closing(keys))


def _unheard(step: str) -> None:
    """Do nothing where a member waits before anybody hears of it; its log has why."""
    del step


def _present(
    context: ConnectionContext,
    paths: MemberPaths,
    journal: MemberJournal,
    keys: RunKeys,
    carrier: Carrier,
) -> OwnFigures | None:
    """Take part with the durable state of this member, which is ours alone now."""
    place = folder_of_run(context, paths.state)
    entropy, memory, faults = QuestionEntropy(), JournalMemory(journal), StandingFaults()
    built: list[Member | RefusingMember] = []

    def spent() -> tuple[float | None, float | None]:
        return _budget(context, built[0]) if built else (None, None)

    assert context.name is not None
    with (
        closing(MemberStatusFile(place, context, faults, spent)) as watch,
        appearing(context, keys, watch, faults, carrier) as present,
    ):
        watch.step(STARTING)
        # With it come torch and the tables' libraries: seconds, in which it is there already.
        from securefl.federation.services.member_input import build

        member = insist(lambda: build(context, paths, place, entropy, memory), watch.step)
        built.append(member)
        with closing(member):
            presence = present.result()
            end = MemberEnd(
                name=context.name,
                keys=keys,
                run=context.run,
                link=presence.link,
                journal=journal,
                entropy=entropy,
                memory=memory,
                fence=fence_of(member.ledger),
                watch=watch,
            )
            process = _begun(end, member, presence)
            process.serve()
            presence.leaving.set()
            # After the release: no other party waits for the training without the federation.
            return own_figures(context, cast("Member | RefusingMember", process.member))


def _begun(end: MemberEnd, member: Member | RefusingMember, presence: Presence) -> MemberProcess:
    """Return the process, once the disk takes what it writes first; each try is of a new member."""
    fresh = chain([member], (member.anew() for _ in repeat(None)))

    def waiting(step: str) -> None:
        presence.step = step
        end.watch.step(step)

    return insist(lambda: MemberProcess(end, next(fresh), presence), waiting)


def _budget(
    context: ConnectionContext, member: Member | RefusingMember
) -> tuple[float | None, float | None]:
    """Return what was spent over the life of the data, and the cap; none without a budget."""
    if not mechanism_for(context.config.privacy).private:
        return None, None
    cap = member.ledger.cap
    return (
        member.ledger.life_epsilon(),
        context.config.privacy.epsilon if cap is None else cap.epsilon,
    )


def own_figures(context: ConnectionContext, member: Member | RefusingMember) -> OwnFigures | None:
    """Write a member's own figures into its folder; None where it has no result."""
    if isinstance(member, RefusingMember):
        return None
    # As agreed, and not as in `context.config`: training on one's own data needs no other party.
    compared = context.signed.agreement.config.references.enabled
    return member.write_figures(local_only=compared)
