"""Sections of a member's own page: what its model says of held-out cases beside what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np

from securefl.audit.report.own_charts import (
    Bin,
    bins_of,
    calibration_chart,
    forecast_chart,
    price_chart,
)
from securefl.audit.report.view_model import Figures, ListCard, Section
from securefl.tasks.common.held_out import (
    HeldOut,
    HeldOutForecasts,
    HeldOutLists,
    HeldOutProbabilities,
    ListedCustomer,
    PriceCurves,
    SeriesPath,
)

Label = Callable[[int], str]
"""From a product's number to what it is called."""
_DRAWN: Final = 6
"""Series and categories with a chart of their own."""
_ANCHOR: Final = "held-out"
_AMONG_ALL: Final = "hr@10_full"
_HITS: Final = (
    "Over all of them, {share:.1f} % of the lists hold that one product, among all that the"
    " retailer sells. HR@10 is larger: it ranks the product among a drawn sample of others."
)


def held_out_section(
    found: HeldOut | None, metrics: Mapping[str, float | None], label: Label
) -> Section:
    """Return the section on held-out cases.

    Args:
        found: What the model says of them.
        metrics: Metrics on all of them.
        label: Products' labels.
    """
    if isinstance(found, HeldOutLists):
        return _lists(found, metrics.get(_AMONG_ALL), label)
    if isinstance(found, HeldOutForecasts):
        return _forecasts(found)
    if isinstance(found, HeldOutProbabilities):
        return _calibration(found)
    if isinstance(found, PriceCurves):
        return _prices(found)
    nothing = "There is no held-out case to draw, or no picture for this model."
    return Section(anchor=_ANCHOR, title="Held-out cases", paragraphs=(nothing,))


def _lists(found: HeldOutLists, hits: float | None, label: Label) -> Section:
    many = f"{len(found.customers)} customers, of {found.cases:,}"
    return Section(
        anchor=_ANCHOR,
        title="Customers' lists, and what they bought",
        paragraphs=(
            (
                f"{many} whose last purchase of a new product was held out, evenly spaced and not"
                " chosen by their lists. A list is what the model would have shown before that"
                " purchase, which it has not seen."
            ),
            *(() if hits is None else (_HITS.format(share=100 * hits),)),
            "Customers are numbered on this page; the retailer's own numbers are nowhere on it.",
        ),
        lists=tuple(_card(place, one, label) for place, one in enumerate(found.customers, 1)),
    )


def _card(place: int, one: ListedCustomer, label: Label) -> ListCard:
    before = ", ".join(label(product) for product in one.before.tolist())
    return ListCard(
        title=f"Customer {place}",
        before=f"{one.known:,} products bought before, lately {before or 'none'}",
        items=tuple((label(item), item == one.bought) for item in one.listed.tolist()),
        outcome=f"Bought next: {label(one.bought)}, place {one.rank:,} of {one.among:,}",
    )


def _forecasts(found: HeldOutForecasts) -> Section:
    step, drawn = found.step, found.series[:_DRAWN]
    inside = sum(one.inside for one in found.series)
    steps = sum(len(one.forecast) for one in found.series)
    ahead = f"a {step}" if found.covers == 1 else f"the mean of {found.covers} {step}s"
    return Section(
        anchor=_ANCHOR,
        title=f"Forecasts of the held-out {step}s, and what was sold",
        paragraphs=(
            (
                f"Each forecast is of {ahead} and from all sales before it. Charts are of the"
                f" {len(drawn)} series that sell most, of {len(found.series):,}."
            ),
            (
                f"{inside:,} of {steps:,} held-out {step}s of all series lie within their band"
                f" ({inside / max(steps, 1):.0%}, meant to be {found.interval:.0%})."
            ),
        ),
        charts=tuple(forecast_chart(one, step, found.interval, found.covers) for one in drawn),
        tables=(_errors(found), _steps(found, drawn)),
    )


def _errors(found: HeldOutForecasts) -> Figures:
    return Figures(
        f"Series over the held-out {found.step}s",
        ("Series", "Sold", "Forecast", "Error", "Within the band"),
        tuple(
            (
                one.name,
                f"{one.held_out.sum():,.0f}",
                f"{one.forecast.sum():,.0f}",
                _share(np.abs(one.forecast - one.held_out).sum(), one.held_out.sum()),
                f"{one.inside} of {len(one.forecast)}",
            )
            for one in found.series
        ),
        folded=len(found.series) > _DRAWN,
    )


def _steps(found: HeldOutForecasts, drawn: Iterable[SeriesPath]) -> Figures:
    orders = any(one.ordered is not None for one in drawn)
    columns = ("Series", found.step.capitalize(), "Sold", "Forecast", "Lower", "Upper")
    return Figures(
        "The figures of the charts",
        (*columns, "Order up to") if orders else columns,
        tuple(row for one in drawn for row in _rows(one)),
        folded=True,
    )


def _rows(one: SeriesPath) -> Iterable[tuple[str, ...]]:
    ahead = one.steps[len(one.steps) - len(one.forecast) :]
    columns = [one.held_out, one.forecast, one.lower, one.upper]
    columns += [] if one.ordered is None else [one.ordered]
    for place, start in enumerate(ahead):
        yield (one.name, str(start), *(f"{column[place]:,.1f}" for column in columns))


def _calibration(found: HeldOutProbabilities) -> Section:
    bins = bins_of(found.probability, found.gone)
    return Section(
        anchor=_ANCHOR,
        title="Probabilities, and who did not come back",
        paragraphs=(
            (
                f"{len(found.gone):,} held-out customers, of whom {int(found.gone.sum()):,} bought"
                f" nothing for {found.weeks} weeks, in {len(bins)} groups of equal size by the"
                " probability that the model gave. Where a group lies on the line, as many stayed"
                " away as predicted; its bar is as long as chance alone moves it."
            ),
        ),
        charts=(calibration_chart(bins),),
        tables=(
            Figures(
                "Groups of customers",
                ("Probability", "Customers", "Predicted", "Stayed away"),
                tuple(_bin_row(one) for one in bins),
            ),
        ),
    )


def _bin_row(one: Bin) -> tuple[str, ...]:
    return (
        f"{100 * one.lowest:.1f} to {100 * one.highest:.1f} %",
        f"{one.count:,}",
        f"{100 * one.predicted:.1f} %",
        f"{100 * one.observed:.1f} % ± {100 * one.error:.1f}",
    )


def _prices(found: PriceCurves) -> Section:
    drawn = found.curves[:_DRAWN]
    return Section(
        anchor=_ANCHOR,
        title="What prices do to revenue and margin",
        paragraphs=(
            (
                "Of a category's usual product, in percent of today's. Bands are those of the"
                f" elasticity at {found.confidence:.0%} confidence; a price may change by"
                f" {found.largest:g} % at most. Margins rest on the agreed share of costs. Charts"
                f" are of the {len(drawn)} categories that take most, of {len(found.curves):,}."
            ),
        ),
        charts=tuple(price_chart(one, found.largest) for one in drawn),
        tables=(
            Figures(
                "Categories",
                ("Category", "Elasticity", "± standard error", "Takings a week"),
                tuple(
                    (
                        one.name,
                        f"{one.elasticity:.2f}",
                        f"{one.error:.2f}",
                        f"{one.takings:,.2f}",
                    )
                    for one in found.curves
                ),
                folded=len(found.curves) > _DRAWN,
            ),
        ),
    )


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"
