"""The parameters of a query's session, which members and coordinator compute each for itself."""

from __future__ import annotations

from functools import lru_cache

from securefl.config.cohort import least_survivors
from securefl.config.privacy import PrivacySettings
from securefl.config.schema import RunConfig
from securefl.consortium.agreement.context import Consortium
from securefl.errors import ConfigError
from securefl.federation.analytics.columns import Catalogue
from securefl.federation.analytics.contributions import sensitivity
from securefl.federation.analytics.queries import Query
from securefl.privacy.accounting.accountant import AccountantName
from securefl.privacy.accounting.calibration import Budget
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.accounting.sensitivity import Sensitivity
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.noise.shares import NoisePlan, honest_shares, plan_noise
from securefl_protocols.primitives.ring import RingDtype, RingVector
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.wire.context import SessionContext, labelled_digest

QUERY_LABEL = b"securefl/1/query"
ANSWER_LABEL = b"securefl/1/query-answer"
RING = RingDtype.UINT64
ROUND = 1
"""A run answers one query, in its first and only round."""


def query_digest(query: Query, catalogue: Catalogue) -> bytes:
    """Return the digest of a query and of the catalogue that it is answered over, 32 bytes."""
    return labelled_digest(QUERY_LABEL, query.canonical(), catalogue.digest)


def answer_digest(total: RingVector) -> bytes:
    """Return the digest of a sum, 32 bytes."""
    return labelled_digest(ANSWER_LABEL, total.tobytes())


def noise_of(config: RunConfig, members: int, query: Query, catalogue: Catalogue) -> NoisePlan:
    """Return the noise shares under which the answer costs a customer the agreed budget.

    Raises:
        ConfigError: If there is no budget, no honest member is left in a sum, or no noise is
            enough.
    """
    settings = config.privacy
    _check_agreed(settings)
    assert settings.epsilon is not None
    honest = honest_shares(
        members, least_survivors(config.cohort, members), settings.distributed.colluding
    )
    budget = Budget(settings.epsilon, settings.delta)
    return _planned(budget, sensitivity(query, catalogue), honest, settings.accountant)


@lru_cache(maxsize=8)
def _planned(
    budget: Budget, moved: Sensitivity, honest: int, accountant: AccountantName
) -> NoisePlan:
    return plan_noise(
        budget, moved, honest=honest, sampling_rate=1.0, steps=1, accountant=accountant
    )


def price_of(noise: NoisePlan) -> SampledGaussian:
    """Return the event that an answer is charged as: a Gaussian that bounds its noise shares."""
    assert isinstance(noise.event, SampledGaussian)
    return noise.event


def _check_agreed(settings: PrivacySettings) -> None:
    if not mechanism_for(settings).customers_share_noise:
        raise ConfigError(
            "privacy: a query is answered with dp = 'distributed' and unit = 'customer' alone"
        )


def query_session(
    consortium: Consortium, query: Query, catalogue: Catalogue
) -> tuple[SessionPlan, SessionContext]:
    """Return plan and context of the one session in which a query is answered.

    Raises:
        PlanError: If the consortium is too small.
    """
    names, agreed = consortium.roster.names, consortium.digest()
    plan = SessionPlan.for_cohort(
        members=len(names),
        dimension=sensitivity(query, catalogue).dimension,
        ring=RING,
        largest_input=RING.largest // len(names),
        terms=labelled_digest(
            QUERY_LABEL, agreed, query_digest(query, catalogue), *(n.encode() for n in names)
        ),
        rounds=1,
        min_members=least_survivors(consortium.config.cohort, len(names)),
    )
    return plan, SessionContext(agreed, consortium.run_id, plan.digest())
