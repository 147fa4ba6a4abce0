"""The members' processes of `network.py`; they import what a member without training needs."""

from __future__ import annotations

import threading
from pathlib import Path

from securefl.consortium.keys.key_files import read_key
from securefl.federation.member.journal import MemberJournal
from securefl.federation.services.bootstrap import ConnectionContext, connection_context
from securefl.federation.services.member_process import (
    JournalMemory,
    MemberEnd,
    MemberProcess,
    QuestionEntropy,
)
from securefl.federation.transport.session_keys import RunKeys
from securefl.ml.cpu import keep_freed_memory
from support.rehearsal import RehearsingMember


def context_of(folder: Path, name: str) -> ConnectionContext:
    key = read_key(folder / f"{name}.key")
    return connection_context(folder / "agreement.toml", key, folder / "facts", "1")


def live(folder: Path, names: list[str]) -> None:
    """What a process with some members does."""
    keep_freed_memory()
    threads = [threading.Thread(target=live_alone, args=(folder, name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def live_alone(folder: Path, name: str) -> None:
    context = context_of(folder, name)
    entropy = QuestionEntropy()
    journal = MemberJournal(folder / name, context.key.private_bytes(), context.run.id)
    keys = RunKeys(folder / name, context.key, context.run.id, name)
    identity, books = context.key.private_bytes(), folder / "books"
    member = RehearsingMember(name, identity, context.consortium, entropy, books)
    with context.connected() as link:
        memory = JournalMemory(journal)
        end = MemberEnd(name, keys, context.run, link, journal, entropy, memory, member.fence)
        MemberProcess(end, member).serve()
