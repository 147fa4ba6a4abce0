"""What the parties of an alignment call: begin it, take part in it, combine it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from securefl.consortium.alignment.exchange import Progress, take_steps
from securefl.consortium.alignment.exchange import combine as combine_lists
from securefl.consortium.alignment.plan import AlignmentPlan, member_of, read_plan, write_plan
from securefl.consortium.alignment.signed_files import Exchange
from securefl.consortium.keys.key_files import read_secret, write_secret
from securefl.consortium.keys.parties import Party
from securefl.data.alignment import Agreed, aligned, items, own_catalogue, write_aligned
from securefl.errors import InputError
from securefl.untrusted.text import fault_at
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.primitives.x25519 import ExchangeKey

_KEY = "coordinator.secret"


@dataclass(frozen=True)
class Joined:
    """How far a member has got.

    Attributes:
        fingerprint: Of the plan, to be compared.
        written: Files that were written.
        waiting: Files of others that are not there yet; none when all is done.
        by_product: Products with a row of their own.
        by_group: Products with the row of a group.
        without: Products without a row.
    """

    fingerprint: str
    written: tuple[str, ...]
    waiting: tuple[str, ...]
    by_product: int = 0
    by_group: int = 0
    without: int = 0


def begin(
    folder: Path,
    state: Path,
    key: SigningKey,
    *,
    members: Sequence[Party],
    size: int,
    least: int | None,
    products: str,
    attributes: Sequence[str],
) -> AlignmentPlan:
    """Write the plan into an exchange folder, and the coordinator's key to lists into its own.

    Args:
        folder: The exchange folder.
        state: The coordinator's own folder.
        key: The coordinator's identity key.
        members: The members with their public keys, in the order in which lists go round.
        size: Length of every list.
        least: Members that have to sell a product; all if not given.
        products: What makes two products the same one.
        attributes: Levels by which products without a row are grouped.

    Raises:
        InputError: The plan is impossible, or a file exists.
    """
    _check_apart(folder, state)
    opening = ExchangeKey(secrets.token_bytes(32))
    tree = {
        "members": tuple(member.name for member in members),
        "identities": tuple(member.identity for member in members),
        "size": size,
        "least": len(members) if least is None else least,
        "products": products,
        "attributes": tuple(attributes),
        "coordinator": opening.public.hex(),
        "coordinator_identity": key.public.hex(),
        "nonce": secrets.token_hex(32),
    }
    try:
        plan = AlignmentPlan.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"no such alignment: {fault_at(error.errors()[0])}") from None
    write_secret(state / _KEY, opening.private_bytes())
    try:
        write_plan(folder, plan)
    except InputError:
        (state / _KEY).unlink()  # a key without a plan would be in the way of the next try
        raise
    return plan


def join(folder: Path, key: SigningKey, catalogue: Path, state: Path, out: Path) -> Joined:
    """Do a member's steps; when the last is done, write the shared rows and its own.

    Args:
        folder: The exchange folder.
        key: The member's identity key, by which the plan knows it.
        catalogue: Its own products.
        state: Its own folder, for secrets.
        out: Where the rows are written.

    Raises:
        InputError: As in `take_steps`, `own_catalogue` and `write_aligned`.
        DataError: As in `own_catalogue`.
    """
    _check_apart(folder, state)
    plan = read_plan(folder)
    agreed = Agreed(plan.products, plan.attributes, plan.least == len(plan.members))
    products = own_catalogue(catalogue, agreed)
    name = member_of(plan, key, folder)
    found = take_steps(Exchange(folder, plan, key), name, items(products, agreed), state)
    if found.common is None:
        return Joined(plan.fingerprint, found.written, found.waiting)
    result = aligned(products, agreed, found.common, found.values)
    files = write_aligned(result, agreed, out, name)
    without = len(products) - result.by_product - result.by_group
    return Joined(
        plan.fingerprint,
        (*found.written, *map(str, files)),
        (),
        result.by_product,
        result.by_group,
        without,
    )


def combine(folder: Path, state: Path, key: SigningKey) -> Progress:
    """Do the coordinator's step, under its identity key.

    Raises:
        InputError: As in `exchange.combine`; also where the key is missing.
    """
    content = read_secret(state / _KEY)
    if len(content) != 32:
        raise InputError(f"{state / _KEY} is damaged")
    return combine_lists(Exchange(folder, read_plan(folder), key), ExchangeKey(content))


def _check_apart(folder: Path, state: Path) -> None:
    """Refuse to keep secrets where all parties read."""
    if state.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{state} lies in the exchange folder: all parties would read the secrets")
