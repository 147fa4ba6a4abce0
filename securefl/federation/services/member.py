"""A member as a service on its own machine: its own tables, ledger and journal."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import torch

from securefl.config.data import CompleteJourneySettings, DataSettings, FilesSettings
from securefl.config.schema import RunConfig
from securefl.consortium.agreement.versions import remember
from securefl.consortium.ledger.data_custody import LedgerContext
from securefl.consortium.ledger.journal_fence import fence_of
from securefl.consortium.ledger.policy import Policy
from securefl.data.digests import data_set_digest, table_digests
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import AgreementError, InputError
from securefl.federation.member.journal import MemberJournal
from securefl.federation.member.member import Member
from securefl.federation.member.own_figures import OwnFigures
from securefl.federation.member.refusing import RefusingMember
from securefl.federation.member.spec import MemberSpec
from securefl.federation.runs.bound_data import bind_member
from securefl.federation.runs.folder_lock import locked
from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.durable_writes import JournalMemory
from securefl.federation.services.member_process import (
    MemberEnd,
    MemberProcess,
    QuestionEntropy,
)
from securefl.federation.services.member_status import MemberStatusFile
from securefl.federation.services.public_facts import check_facts, check_start
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.flower.socket_link import SocketLink
from securefl.federation.transport.link import Opening
from securefl.federation.transport.nats.chunking import Reassembler
from securefl.federation.transport.nats.consumer import Arrival
from securefl.federation.transport.session_keys import RunKeys
from securefl.ml.cpu import keep_freed_memory
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.base import UnableMember, able_or_not
from securefl.tasks.registry import create_task
from securefl.tasks.served.folder import FOLDER
from securefl.tasks.served.starting import started_from, starting_model
from securefl.tasks.served.writing import vocabulary_of

_log = logging.getLogger(__name__)


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
    context: ConnectionContext,
    paths: MemberPaths,
    opening: Opening | None = None,
    process: type[MemberProcess] = MemberProcess,
) -> OwnFigures | None:
    """Take part in a run until the coordinator releases the member.

    Args:
        context: The agreement and the member's key.
        paths: Its own files.
        opening: Opens its connection; one to the agreed broker if not given.
        process: What reads from that connection.

    Returns:
        The member's own figures, which nobody else gets; None where there is no result.

    Raises:
        RunDirectoryError: If another process of this member is in the run.
        SecureflError: Any other user-facing error, as one line.
    """
    if context.name is None:
        raise AgreementError("this is the coordinator's key; a member has one of its own")
    # Before all else: an older version of the agreement than one that was seen is refused.
    remember(paths.state, context.signed)
    keep_freed_memory()
    torch.set_num_threads(1)
    run = context.run.id
    place = folder_of_run(context, paths.state)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)  # what is in it is sealed, but for names
    secret = context.key.secret()
    with (
        locked(place),
        closing(MemberJournal(place, secret, run)) as journal,
        closing(RunKeys(place, context.key, run, context.name)) as keys,
    ):
        entropy, memory = QuestionEntropy(), JournalMemory(journal)
        with closing(_spec(context, paths, place, entropy, memory).build()) as member:
            # A lost disk looks like a new member, but the ledger may have releases of this run.
            if journal.empty:
                member.begin_after_loss()
            faults = StandingFaults()
            watch = MemberStatusFile(place, context, faults, partial(_budget, context, member))
            with closing(watch):
                with opening(faults) if opening else context.connected(faults=faults) as link:
                    watch.joined(link)
                    end = MemberEnd(
                        name=context.name,
                        keys=keys,
                        run=context.run,
                        link=link,
                        journal=journal,
                        entropy=entropy,
                        memory=memory,
                        fence=fence_of(member.ledger),
                        watch=watch,
                    )
                    process(end, member).serve()
                # After the release: no other party waits for the training without the federation.
                return own_figures(context, member)


class RelayedMemberProcess(MemberProcess):
    """The loop of a member whose questions come over a socket of its machine."""

    def _listen(self, sender: Reassembler) -> None:
        self._socket = cast("SocketLink", self._end.link)
        self._socket.listen(sender, self._end.keys)

    def _serve(self, arrival: Arrival) -> None:
        super()._serve(arrival)
        self._socket.settle(arrival.note.id)


def serve_relayed(context: ConnectionContext, paths: MemberPaths, path: Path) -> OwnFigures | None:
    """Take part in a run, with a SuperNode of Flower in the place of the broker; else as `serve`.

    Args:
        context: The agreement and the member's key.
        paths: Its own files.
        path: The socket to make, which the SuperNode's `--node-config` names.
    """
    return serve(context, paths, lambda faults: SocketLink(path, faults), RelayedMemberProcess)


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


def _spec(
    context: ConnectionContext,
    paths: MemberPaths,
    place: Path,
    entropy: QuestionEntropy,
    memory: JournalMemory,
) -> MemberSpec:
    assert context.name is not None
    config = _begun(context, paths)
    # The facts of a later run of a schedule hold no start: it is not known when they are made.
    stated = config if context.number == 1 else context.config
    check_facts(_with_own_root(stated, paths.data), context.facts)
    # Under a budget no line of a customer may decide whether this member takes part.
    apart = mechanism_for(config.privacy).private
    data = load(_own_settings(config.data, context.name, paths.data), apart=apart)
    tables = _tables_of(data, context.name)
    digests = table_digests(tables)
    bind_member(place, digests)
    task, facts = create_task(config), context.facts.content
    vocabulary = vocabulary_of(config, facts, data.products)
    if config.goes_on and context.number == 1:
        # Computed from its own copy, and before it says a word: nobody else's start is taken.
        check_start(context.facts, starting_model(config, task, facts, vocabulary))
    prepared = able_or_not(task, tables, facts)
    if isinstance(prepared, UnableMember):
        _log.warning("%s takes no part, and the others are told so", prepared.reason)
    return MemberSpec(
        config=config,
        facts=facts,
        data=prepared,
        directory=place,
        custody=LedgerContext(
            paths.books, paths.policy, data_set_digest(digests), config.data.source
        ),
        consortium=context.consortium,
        identity=context.key,
        entropy=entropy,
        memory=memory,
        own_machine=True,
        vocabulary=vocabulary,
    )


def _begun(context: ConnectionContext, paths: MemberPaths) -> RunConfig:
    """Return the run's configuration with the member's own earlier model, where there is one.

    Raises:
        InputError: If a run of a schedule has no model of the run before it here.
    """
    config = context.config
    if context.number == 1:
        earlier = None if paths.earlier is None else str(paths.earlier)
        return config.model_copy(update={"warm_start": earlier})
    # By the id of the run: the folder is of this agreement, these facts and the run before alone.
    here = None if context.before is None else paths.state / context.before.hex()[:16] / FOLDER
    earlier_model = paths.earlier or here
    if earlier_model is None or not earlier_model.is_dir():
        raise InputError(
            f"run {context.number} goes on from the model of run {context.number - 1}, which is not"
            f" in {paths.state}: name it with --from, such as another member's folder 'released'"
        )
    return started_from(config, earlier_model)


def own_tables(config: RunConfig, name: str, folder: Path | None) -> RetailerTables:
    """Return a member's own tables.

    Args:
        config: The agreed configuration.
        name: The member's name.
        folder: The folder of its files.

    Raises:
        InputError: If the member has no tables in the source.
        DataError: If a table is wrong.
    """
    return _tables_of(load(_own_settings(config.data, name, folder)), name)


def _tables_of(data: RetailData, name: str) -> RetailerTables:
    for tables in data.members:
        if tables.name == name:
            return tables
    raise InputError(f"the source '{data.source}' has no tables of {name}")


def _with_own_root(config: RunConfig, folder: Path | None) -> RunConfig:
    """Return the agreed configuration with the member's own folder as the root of the catalogue."""
    data = config.data
    if not isinstance(data, FilesSettings) or folder is None:
        return config
    return config.model_copy(update={"data": data.model_copy(update={"root": folder})})


def _own_settings(settings: DataSettings, name: str, folder: Path | None) -> DataSettings:
    """Return the source with only this member's files, where members have files of their own."""
    if isinstance(settings, FilesSettings):
        own = tuple(member for member in settings.members if member.name == name)
        if not own or folder is None:
            missing = "no files of it are agreed" if not own else "--data DIR is missing"
            raise InputError(f"{name}: {missing}")
        return settings.model_copy(update={"members": own, "root": folder})
    if isinstance(settings, CompleteJourneySettings) and folder is not None:
        return settings.model_copy(update={"folder": folder})
    return settings
