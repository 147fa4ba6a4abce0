"""`securefl analytics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from securefl_cli.group import LazyGroup
from securefl_cli.options.run import (
    Name,
    Real,
    book_option,
    config_argument,
    data_option,
    format_option,
    policy_option,
)
from securefl_cli.rendering.screen import print_json

if TYPE_CHECKING:
    from securefl.federation.analytics.queries import Kind

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

NUMBER_COLUMNS = (
    "value",
    "price",
    "quantity",
    "discount",
    "basket-value",
    "basket-size",
    "spend",
)
TEXT_COLUMNS = ("product", "category", "department", "kind", "brand")
_COMMANDS = {
    "sum": ("securefl_cli.commands.analytics:sum_", "The sum of a column."),
    "mean": ("securefl_cli.commands.analytics:mean", "The mean of a column."),
    "histogram": (
        "securefl_cli.commands.analytics:histogram",
        "Which share of the records is where.",
    ),
    "quantiles": (
        "securefl_cli.commands.analytics:quantiles",
        "Below which number so many records are.",
    ),
    "top": ("securefl_cli.commands.analytics:top", "What most customers bought."),
}


@click.group(cls=LazyGroup, commands_from=_COMMANDS)
def analytics() -> None:
    """Statistics over all retailers' customers, without disclosing any retailer's own.

    Each retailer bounds each customer's contribution, charges the customer's budget, adds its share
    of the noise and masks; only the noised sum of all is disclosed.
    """


_OPTIONS = (
    config_argument,
    data_option,
    click.option(
        "--epsilon", type=Real(), required=True, metavar="E", help="Budget of each customer."
    ),
    click.option("--delta", type=Real(), metavar="D", help="Its delta; 1e-5 if not given."),
    click.option(
        "--records",
        type=click.IntRange(min=1),
        metavar="N",
        help="Largest number of a customer's records that count.",
    ),
    click.option(
        "--retailers",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="Number of retailers of a customer that the budget covers.",
    ),
    click.option(
        "--colluding",
        type=click.IntRange(min=0),
        metavar="N",
        help="Number of retailers that may collude; 1 if not given.",
    ),
    book_option,
    policy_option,
    format_option,
    click.option(
        "--truth",
        is_flag=True,
        help="SIMULATION ONLY: also print the exact answer, which no consortium has.",
    ),
)
_range_option = click.option(
    "--range",
    "limits",
    type=(Real(), Real()),
    metavar="LOW HIGH",
    help="Numbers beyond are clipped to the nearer end.",
)
_bins_option = click.option(
    "--bins", type=click.IntRange(min=1), metavar="N", help="Parts of the range."
)


def _shared(*columns: str) -> Callable[[CommandT], CommandT]:
    """Return a decorator with the column, one of these, and the options of all queries."""

    def decorate(command: CommandT) -> CommandT:
        for option in reversed(_OPTIONS):
            command = option(command)
        return click.argument("column", type=Name(columns), metavar="COLUMN")(command)

    return decorate


@click.command(
    "sum",
    epilog="""\b
    Columns: value, price, quantity, discount, basket-value, basket-size, spend.

    \b
    Examples:
      securefl analytics sum spend --epsilon 1
      securefl analytics sum quantity --epsilon 0.5 --records 50 --range 0 10
    """,
)
@_shared(*NUMBER_COLUMNS)
@_range_option
def sum_(**options: Any) -> None:  # noqa: ANN401 - as click parsed them
    """Print the sum of a column; a customer's total is clipped to N times the range."""
    _answer("sum", options)


@click.command(
    epilog="""\b
    Columns: value, price, quantity, discount, basket-value, basket-size, spend.

    \b
    Examples:
      securefl analytics mean basket-size --epsilon 1
      securefl analytics mean price --epsilon 1 --range 0 10 --format json
    """
)
@_shared(*NUMBER_COLUMNS)
@_range_option
def mean(**options: Any) -> None:  # noqa: ANN401 - as click parsed them
    """Print the mean of a column."""
    _answer("mean", options)


@click.command(
    epilog="""\b
    Columns of names: product, category, department, kind, brand.
    Columns of numbers: value, price, quantity, discount, basket-value,
    basket-size, spend.

    \b
    Examples:
      securefl analytics histogram category --epsilon 1
      securefl analytics histogram price --epsilon 1 --range 0 10 --bins 10
    """
)
@_shared(*TEXT_COLUMNS, *NUMBER_COLUMNS)
@_range_option
@_bins_option
def histogram(**options: Any) -> None:  # noqa: ANN401 - as click parsed them
    """Print the share of the records in each bin, or under each name."""
    _answer("histogram", options)


@click.command(
    epilog="""\b
    Columns: value, price, quantity, discount, basket-value, basket-size, spend.

    \b
    Examples:
      securefl analytics quantiles basket-value --at 0.1,0.5,0.9 --epsilon 1
      securefl analytics quantiles spend --at 0.25,0.75 --epsilon 2
    """
)
@_shared(*NUMBER_COLUMNS)
@_range_option
@_bins_option
@click.option(
    "--at",
    default="0.25,0.5,0.75",
    show_default=True,
    metavar="Q,Q,...",
    help="Levels of the quantiles, each between 0 and 1; their number costs no budget.",
)
def quantiles(*, at: str, **options: Any) -> None:  # noqa: ANN401 - as click parsed them
    """Print below which number so many of the records are."""
    _answer("quantiles", options, at=_levels(at))


@click.command(
    epilog="""\b
    Columns: product, category, department, kind, brand.

    \b
    Examples:
      securefl analytics top product -k 100 --epsilon 1
      securefl analytics top category -k 10 --epsilon 0.5 --data tutorial
    """
)
@_shared(*TEXT_COLUMNS)
@click.option(
    "-k",
    "length",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="Length of the list; it costs no budget.",
)
def top(*, length: int, **options: Any) -> None:  # noqa: ANN401 - as click parsed them
    """Print what most customers bought, and how many; a customer counts once for each."""
    _answer("top", options, length=length)


def _levels(text: str) -> tuple[float, ...]:
    try:
        levels = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a list of numbers", param_hint="--at") from None
    if not all(0 < level < 1 for level in levels):
        raise click.BadParameter("a quantile is between 0 and 1", param_hint="--at")
    return levels


def _answer(
    kind: Kind, options: dict[str, Any], *, at: Sequence[float] = (0.5,), length: int = 20
) -> None:
    from securefl.consortium.ledger.paths import LedgerPaths
    from securefl.federation.analytics.api import answer
    from securefl.federation.analytics.queries import ask_for
    from securefl.federation.analytics.settings import analytics_config

    query = ask_for(
        kind,
        options["column"],
        records=options["records"],
        limits=options.get("limits"),
        bins=options.get("bins"),
        retailers=options["retailers"],
    )
    config = analytics_config(
        options["config"],
        data=options["data"],
        epsilon=options["epsilon"],
        delta=options["delta"],
        colluding=options["colluding"],
    )
    places = LedgerPaths.usual(options["book"], options["policy"])
    found = answer(config, query, places, at=at, length=length, truth=options["truth"])
    if options["format"] == "json":
        print_json(found.to_json())
        return
    from securefl_cli.rendering.analytics import print_answer

    print_answer(found, places.books)
