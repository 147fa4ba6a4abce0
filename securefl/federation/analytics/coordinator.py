"""The coordinator's side of a query: one session and one noised sum."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from securefl.config.schema import RunConfig
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.keys.key_files import generate_key
from securefl.consortium.ledger.data_custody import LedgerContext
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.consortium.ledger.policy import policy_of
from securefl.data.digests import tables_digest
from securefl.data.schema import ANONYMOUS
from securefl.data.tables import RetailData
from securefl.errors import InputError, SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.secure import RoundFailedError
from securefl.federation.aggregation.session_driver import ServerSessionRunner
from securefl.federation.analytics.columns import Catalogue, IntVector
from securefl.federation.analytics.member import QueryContext
from securefl.federation.analytics.queries import Query
from securefl.federation.analytics.terms import (
    RING,
    ROUND,
    answer_digest,
    noise_of,
    query_digest,
    query_session,
)
from securefl.federation.runs.simulation import local_agreement
from securefl.federation.transport.base import Transport
from securefl.federation.transport.exchange import Exchange, said_once
from securefl.privacy.noise.shares import NoisePlan
from securefl_protocols.primitives.errors import PlanError, ProtocolError
from securefl_protocols.session.server import ServerSession


@dataclass(frozen=True)
class NoisedSum:
    """The result of a query: everything that a party learns of the others.

    Attributes:
        total: Sum of the survivors' integers with their noise shares, int64 [d].
        survivors: The members whose integers are in it.
        asked: Number of members that were asked.
        refused: Member to the reason of its refusal.
        noise: The plan of the noise shares.
    """

    total: IntVector
    survivors: tuple[str, ...]
    asked: int
    refused: dict[str, str]
    noise: NoisePlan

    @property
    def deviation(self) -> float:
        """Standard deviation of all noise in a coordinate, in integer units."""
        return self.noise.summed_deviation(len(self.survivors))


def analysts(
    config: RunConfig, data: RetailData, catalogue: Catalogue, places: LedgerPaths
) -> list[QueryContext]:
    """Return the members of a query on one machine: new keys, own ledgers and policies.

    Raises:
        ConfigError: If a policy does not exist or does not validate.
    """
    keys = {tables.name: generate_key() for tables in data.members}
    consortium = Consortium(local_agreement("local query", config, keys), os.urandom(32))
    return [
        QueryContext(
            tables=tables,
            units=int(tables.transactions["customer"].loc[lambda one: one != ANONYMOUS].nunique()),
            catalogue=catalogue,
            custody=LedgerContext(
                places.books,
                policy_of(places.policy, tables.name),
                tables_digest(tables),
                config.data.source,
            ),
            consortium=consortium,
            identity=keys[tables.name].private_bytes(),
        )
        for tables in data.members
    ]


def ask(
    consortium: Consortium, catalogue: Catalogue, query: Query, transport: Transport
) -> NoisedSum:
    """Ask all members over a transport.

    Args:
        consortium: The parties and their agreement.
        catalogue: The agreed catalogue.
        query: The query.
        transport: The way to the members.

    Raises:
        RoundFailedError: If too few members are left; members that had entered stay charged.
        InputError: If the consortium is too small for a masked sum, or too many refused.
    """
    names = consortium.roster.names
    noise = noise_of(consortium.config, len(names), query, catalogue)
    exchange = Exchange(transport)
    digest = query_digest(query, catalogue)
    try:
        plan, context = query_session(consortium, query, catalogue)
    except PlanError as error:
        raise InputError(f"secure: {error}") from None
    server = ServerSession(
        plan=plan, roster=consortium.roster, context=context, number=ROUND, model=digest
    )
    session = ServerSessionRunner(cohort=names, server=server)
    request = m.QueryRequest(query=query.canonical(), cohort=names)
    try:
        result = session.run(exchange, dict.fromkeys(names, request), ROUND, digest)
    except ProtocolError as error:
        raise _no_answer(exchange, session, str(error)) from None
    survivors = tuple(names[index] for index in result.survivors)
    _conclude(exchange, survivors, answer_digest(result.total), server.transcript().digest())
    total = result.total.view(RING.signed_dtype).astype(np.int64)
    return NoisedSum(total, survivors, len(names), _refused(exchange), noise)


def _conclude(
    exchange: Exchange, survivors: Sequence[str], answer: bytes, transcript: bytes
) -> None:
    """Have the members record the outcome; one that does not answer has its charge anyway."""
    outcome = m.Conclude(
        round=ROUND, survivors=tuple(survivors), model=answer, transcript=transcript, since=0
    )
    replies = exchange.replies(dict.fromkeys(survivors, outcome))
    there = [name for name, reply in replies.items() if isinstance(reply, m.Entries)]
    exchange.replies(dict.fromkeys(there, m.Finish(rounds=1, since=0)))


def _refused(exchange: Exchange) -> dict[str, str]:
    return exchange.refused_in(0) | exchange.refused_in(ROUND)


def _no_answer(exchange: Exchange, session: ServerSessionRunner, reason: str) -> SecureflError:
    """Return the error for a query without a sum; after a refusal, a wrong input."""
    refused = said_once(_refused(exchange), {})
    if refused:
        return InputError(f"the query has no answer: {'; '.join(refused)}")
    failed = said_once({}, session.failures)
    return RoundFailedError(f"the query has no answer: {'; '.join([reason, *failed])}")
