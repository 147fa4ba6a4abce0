"""From revealed shares to the sum: rebuild the secrets, remove what does not cancel."""

from collections import defaultdict
from collections.abc import Collection, Mapping

import numpy as np

from securefl_protocols.primitives.errors import RemoteProtocolError, TooFewSurvivors
from securefl_protocols.primitives.shamir import LIMBS, combine
from securefl_protocols.session.plan import SessionPlan

SharesOf = Mapping[int, Mapping[int, bytes]]
"""For each dealer, the 36-byte shares of one of its secrets by holder."""


def rebuild(plan: SessionPlan, revealed: SharesOf) -> dict[int, bytes]:
    """Rebuild one secret of each dealer from exactly t shares, those of the lowest x.

    Args:
        plan: The plan of the session.
        revealed: The shares, each already compared with its commitment.

    Returns:
        32 bytes for each dealer.

    Raises:
        TooFewSurvivors: Fewer than t shares of somebody were revealed.
        RemoteProtocolError: The shares of a dealer belong to no secret; the dealer is to
            blame, because it committed to them.
    """
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for dealer, shares in revealed.items():
        holders = plan.holders(dealer)
        if len(shares) < plan.threshold:
            raise TooFewSurvivors(
                f"{len(shares)} of {plan.threshold} shares of member {dealer} are left"
            )
        alike[tuple(sorted(holders[holder] for holder in shares)[: plan.threshold])].append(dealer)
    secrets: dict[int, bytes] = {}
    for xs, dealers in alike.items():
        secrets.update(_rebuild_alike(plan, xs, {d: revealed[d] for d in dealers}))
    return secrets


def _rebuild_alike(
    plan: SessionPlan, xs: tuple[int, ...], revealed: SharesOf
) -> Mapping[int, bytes]:
    """Rebuild the secrets of dealers whose shares stand at the same x, all at once."""
    joined = bytearray()
    for dealer, shares in revealed.items():
        at = {x: holder for holder, x in plan.holders(dealer).items()}
        joined += b"".join(shares[at[x]] for x in xs)
    words = np.frombuffer(bytes(joined), dtype=">u4").astype(np.uint32)
    points = words.reshape(len(revealed), len(xs), LIMBS).transpose(1, 0, 2)
    try:
        return dict(zip(revealed, combine(xs, points), strict=True))
    except RemoteProtocolError as error:
        if len(revealed) == 1:
            raise RemoteProtocolError(str(error), next(iter(revealed))) from error
    # Somebody's shares are no secret; one by one, to find out whose.
    alone = (_rebuild_alike(plan, xs, {d: shares}) for d, shares in revealed.items())
    return {dealer: secret for part in alone for dealer, secret in part.items()}


def revealed_shares(
    dealers: Collection[int], unmasked: Mapping[int, Mapping[int, bytes]]
) -> dict[int, dict[int, bytes]]:
    """Turn what each holder revealed into what was revealed of each dealer.

    Args:
        dealers: Whose secret is to be rebuilt.
        unmasked: For each holder, the shares that it revealed, by dealer.
    """
    revealed: dict[int, dict[int, bytes]] = {dealer: {} for dealer in dealers}
    for holder, shares in unmasked.items():
        for dealer, share in shares.items():
            revealed[dealer][holder] = share
    return revealed
