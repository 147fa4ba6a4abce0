"""Admission of a party: the agreement is in force, and a member's own policy allows it."""

from __future__ import annotations

from datetime import datetime

from securefl.consortium.agreement.signatures import AgreementStatus, SignedAgreement, check
from securefl.consortium.ledger.policy import Policy, in_words
from securefl.errors import AgreementError
from securefl.federation.aggregation.session_parameters import check_provable


def admit(
    signed: SignedAgreement,
    at: datetime,
    *,
    member: str | None = None,
    policy: Policy | None = None,
) -> AgreementStatus:
    """Check an agreement against the time, its signatures, and a member's policy.

    Args:
        signed: The agreement with signatures and statements.
        at: The time, with a time zone.
        member: The checking party; it has to be a member, and to have signed itself.
        policy: The member's own policy; None allows everything.

    Returns:
        The members now, and the digest that is in force.

    Raises:
        AgreementError: If it is not in force, or the policy forbids what was agreed.
        MissingExtraError: If norms are agreed, and what proves them is not installed.
    """
    now = check(signed, at, member)
    check_provable(signed.agreement.config.secure.norm)
    if policy is not None:
        refusal = policy.refusal(signed.agreement.config, len(now.members))
        if refusal is not None:
            raise AgreementError(f"the agreement goes against the policy: {in_words(refusal)}")
    return now
