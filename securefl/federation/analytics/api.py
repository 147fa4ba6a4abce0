"""A query on one machine, from configuration to answer, over the local engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from securefl.config.schema import RunConfig
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData
from securefl.federation.analytics.answers import Row, rows_of
from securefl.federation.analytics.columns import Catalogue
from securefl.federation.analytics.coordinator import NoisedSum, analysts, ask
from securefl.federation.analytics.exact import ExactAnswer, truth_of
from securefl.federation.analytics.queries import Query
from securefl.federation.analytics.terms import noise_of, price_of
from securefl.federation.transport.base import OpenTransport
from securefl.federation.transport.fault_injection import WithDropouts
from securefl.federation.transport.local import InProcess
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.accounting.spent import privacy_unit
from securefl.privacy.plan import PrivacyPlan


@dataclass(frozen=True)
class Answer:
    """The answer of a query, and its privacy guarantee; the field names are keys of its JSON.

    Attributes:
        query: The query.
        rows: The answer.
        survivors: The members whose customers are in it.
        members: Number of members that were asked.
        refused: Member to the reason of its refusal.
        epsilon: Epsilon for a customer of one retailer.
        delta: Its delta.
        colluding: Number of members that may collude, by subtracting their own noise.
        deviation: Standard deviation of the noise in each integer of the sum.
        sensitivity: L2 sensitivity of the sum to one customer, in integer units.
        floor: What the largest of so many integers' noise comes to (Gaussian maximum,
            sqrt(2 log d) deviations); a count below may be noise alone.
        elsewhere: Number of retailers to epsilon for a customer of so many of them.
        about: Product number to its kind.
        truth: The exact answer, in a simulation that requested it.
    """

    query: Query
    rows: tuple[Row, ...]
    survivors: tuple[str, ...]
    members: int
    refused: Mapping[str, str]
    epsilon: float
    delta: float
    colluding: int
    deviation: float
    sensitivity: float
    floor: float
    elsewhere: Mapping[int, float]
    about: Mapping[str, str] = field(default_factory=dict)
    truth: ExactAnswer | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the exact answer is in it only where it was requested."""
        tree = asdict(self) | {"query": self.query.model_dump(mode="json")}
        tree["adjacency"] = privacy_unit("customer").adjacency
        if self.truth is None:
            del tree["truth"]
        return tree


def answer(
    config: RunConfig,
    query: Query,
    places: LedgerPaths,
    *,
    at: Sequence[float] = (0.5,),
    length: int = 100,
    truth: bool = False,
) -> Answer:
    """Load the data, ask all retailers, and compute the answer from their noised sum.

    Args:
        config: Data, cohort and budget; dp = "distributed".
        query: The query.
        places: Paths of the members' ledgers and policies.
        at: The quantiles' levels.
        length: Number of names in a list of the top.
        truth: Also compute the exact answer, which only a simulation can.

    Raises:
        InputError: If settings, data, policies or budget do not allow it.
        RoundFailedError: If too few members are left.
    """
    places.check()
    data = load(config.data, apart=True)  # an answer has a budget, and no line decides about it
    return answer_from(config, data, query, places, at=at, length=length, truth=truth)


def answer_from(
    config: RunConfig,
    data: RetailData,
    query: Query,
    places: LedgerPaths,
    *,
    at: Sequence[float] = (0.5,),
    length: int = 100,
    truth: bool = False,
) -> Answer:
    """Return the answer from tables that are already loaded; see `answer`."""
    catalogue = Catalogue(data.products)
    # Refuse what no member could answer before any member is asked and charged.
    noise_of(config, len(data.members), query, catalogue)
    specs = analysts(config, data, catalogue, places)
    PrivacyPlan.of(config).check_delta("the consortium")
    dropouts = config.simulation.dropouts
    engine: OpenTransport = InProcess(specs)
    with WithDropouts(engine, dropouts) if dropouts else engine as transport:
        found = ask(specs[0].consortium, catalogue, query, transport)
    rows = rows_of(query, catalogue, found.total, found.deviation, at=at, length=length)
    result = _answer(config, query, rows, found)
    if query.kind == "top" and query.column == "product":
        result = replace(result, about={row.name: catalogue.about(row.name) for row in rows})
    return replace(result, truth=truth_of(query, data, catalogue, rows, at)) if truth else result


def _answer(config: RunConfig, query: Query, rows: tuple[Row, ...], found: NoisedSum) -> Answer:
    settings, sigma = config.privacy, price_of(found.noise).noise_multiplier

    def epsilon(retailers: int) -> float:
        # A customer of more retailers than the query allows moves the sum further, by their ratio.
        less = query.retailers / max(query.retailers, retailers)
        event = SampledGaussian(sigma * less, 1.0, 1)
        return epsilon_of([event], settings.delta, settings.accountant)

    return Answer(
        query=query,
        rows=rows,
        survivors=found.survivors,
        members=found.asked,
        refused=found.refused,
        epsilon=epsilon(1),
        delta=settings.delta,
        colluding=settings.distributed.colluding,
        deviation=found.deviation,
        sensitivity=found.noise.sensitivity.l2,
        floor=found.deviation * math.sqrt(2 * math.log(max(2, found.total.size))),
        elsewhere={count: epsilon(count) for count in range(2, found.asked + 1)},
    )
