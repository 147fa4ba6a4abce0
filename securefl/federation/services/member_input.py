"""What a member takes part with: its own tables, checked against what was agreed.

In a file of its own, which is imported when the member is connected: with it come torch and the
libraries that read tables.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from securefl.config.data import CompleteJourneySettings, DataSettings, FilesSettings
from securefl.config.schema import RunConfig
from securefl.consortium.ledger.data_custody import LedgerContext
from securefl.data.digests import data_set_digest, table_digests
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import InputError
from securefl.federation.member.member import Member
from securefl.federation.member.refusing import RefusingMember
from securefl.federation.member.spec import MemberSpec
from securefl.federation.runs.bound_data import bind_member
from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.durable_writes import JournalMemory
from securefl.federation.services.member_process import QuestionEntropy
from securefl.federation.services.public_facts import check_facts, check_start
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.base import UnableMember, able_or_not
from securefl.tasks.registry import create_task
from securefl.tasks.served.folder import FOLDER
from securefl.tasks.served.starting import started_from, starting_model
from securefl.tasks.served.writing import vocabulary_of

if TYPE_CHECKING:
    from securefl.federation.services.member import MemberPaths

_log = logging.getLogger(__name__)


def build(
    context: ConnectionContext,
    paths: MemberPaths,
    place: Path,
    entropy: QuestionEntropy,
    memory: JournalMemory,
) -> Member | RefusingMember:
    """Return the member with its own tables.

    Args:
        context: The run.
        paths: The member's own files.
        place: Its folder of the run.
        entropy: The source of its session's randomness.
        memory: Keeps its trainings.

    Raises:
        SecureflError: If tables, facts or folder are not those that were agreed.
    """
    torch.set_num_threads(1)
    return member_spec(context, paths, place, entropy, memory).build()


def member_spec(
    context: ConnectionContext,
    paths: MemberPaths,
    place: Path,
    entropy: QuestionEntropy,
    memory: JournalMemory,
) -> MemberSpec:
    """Return what makes the member; see `build`."""
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
