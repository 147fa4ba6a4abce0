"""Members whose update is longer than agreed, and who lie about it in their norm proofs."""

from dataclasses import replace

import pytest

from securefl.federation.member.open_session import SessionMaker
from securefl_protocols.proofs.norm_proof import prove
from securefl_protocols.session.norms import RoundNorms


def forced(terms, statement, values, blinding, secret):
    """Proves with bits of zero for what is no number of the agreed size: as far as a liar comes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "securefl_protocols.proofs.norm_proof._helpers",
            lambda terms, values: [0] * (terms.bound_bits + 2 * terms.weight_bits),
        )
        return prove(terms, statement, values, blinding, secret)


def claim(values):
    """A `prove` that claims other values than those of the input."""
    return lambda terms, statement, _, blinding, secret: prove(
        terms, statement, values, blinding, secret
    )


def have_lie(patch, hostile, change):
    """Has the member of that index prove with `change` in the place of `prove`."""
    honest = RoundNorms.proven

    def proven(norms, member, vector, masks, secret):
        if member != hostile:
            return honest(norms, member, vector, masks, secret)
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr("securefl_protocols.session.norms.prove", change)
            return honest(norms, member, vector, masks, secret)

    patch.setattr(RoundNorms, "proven", proven)


class Unbounded(SessionMaker):
    """Opens the sessions of a member that does not scale its changes down."""

    def opening(self, cohort, dimension, at):
        """As an honest one, but for the norm."""
        honest = super().opening(cohort, dimension, at)
        return replace(honest, terms=replace(honest.terms, norm=None))


def let_run(masked):
    """Has a `MaskedMember` send its changes as long as they are."""
    maker = masked._maker
    masked._maker = Unbounded(maker.name, maker.identity, maker.consortium, maker.entropy)
