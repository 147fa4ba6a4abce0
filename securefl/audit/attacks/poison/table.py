"""All attacks of a member on the others, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from securefl.audit.attacks.poison import purchases, updates
from securefl.audit.attacks.poison.purchases import Ints
from securefl.audit.attacks.poison.updates import Vector, View
from securefl.data.tables import RetailerTables
from securefl.tasks.base import MemberData

Targets = Literal["none", "one own", "ten own", "one rival's"]
"""Which products an attack is about."""


@dataclass(frozen=True)
class Attack:
    """A transformation of a member's data or update, which the rest of the member does not know of.

    Attributes:
        name: Its name on the command line.
        does: What the hostile member does, for a table.
        targets: Which products it is about.
        tables: Changes its tables; None where it leaves them.
        data: Changes what it trains on; None where it leaves it.
        update: Changes its update; None where it leaves it.
        weight: Times its sample count that it claims.
    """

    name: str
    does: str
    targets: Targets = "none"
    tables: Callable[[RetailerTables, Ints], RetailerTables] | None = None
    data: Callable[[MemberData], MemberData] | None = None
    update: Callable[[View], Vector] | None = None
    weight: int = 1

    @property
    def about_products(self) -> bool:
        """Whether it needs a model with a row for each product."""
        return self.targets != "none"


_ALL: Final = (
    Attack("scale", "sends ten times its update", update=updates.scaled),
    Attack(
        "sign-flip",
        "sends its update turned round, as large as all together",
        update=updates.reversed_sign,
    ),
    Attack(
        "weight",
        "claims a hundred times its samples, with its update turned round",
        update=updates.reversed_sign,
        weight=100,
    ),
    Attack("label-flip", "trains on the opposite of its data", data=purchases.flipped),
    Attack("promote-one", "boosts one own product's rows", "one own", update=updates.promoted),
    Attack("promote-ten", "boosts ten own products' rows", "ten own", update=updates.promoted),
    Attack(
        "craft-one",
        "adds customers who all buy one own product",
        "one own",
        tables=purchases.with_crafted_customers,
    ),
    Attack(
        "craft-ten",
        "adds customers who all buy ten own products",
        "ten own",
        tables=purchases.with_crafted_customers,
    ),
    Attack("demote", "pushes down a rival's best seller", "one rival's", update=updates.demoted),
    Attack("drift", "boosts ten own products a little a round", "ten own", update=updates.drifting),
    Attack("free-ride", "sends no change", update=updates.nothing),
    Attack("noise", "adds noise of ten times its update's length", update=updates.loud),
)
ATTACKS: Final[Mapping[str, Attack]] = {attack.name: attack for attack in _ALL}
