"""`securefl predict`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from securefl.errors import InputError
from securefl_cli.options.run import Real, format_option, quiet_option
from securefl_cli.rendering.reading import show_reading
from securefl_cli.rendering.screen import Screen, copyable, print_json

if TYPE_CHECKING:  # pandas and torch wait until a model is opened
    import pandas as pd

    from securefl.data.writers import Write
    from securefl.tasks.common.serving import Request
    from securefl.tasks.served.model import Model

_SHOWN = 10
_EVERY = 10_000
_LARGEST_LIST = 64 << 20
"""Bytes of a file of labels."""
_NAMED = 5
"""Labels that a warning names."""
_FILE = click.Path(path_type=Path)


@click.command(
    epilog="""\b
    Examples:
      securefl predict runs/a/members/north/model --out lists.parquet --k 20
      securefl predict model --data n.toml --out lists.csv --department GROCERY
      securefl predict model --data sales.csv --customers new.txt --out new.csv
      securefl predict model --horizon 4 --interval 0.9 --out weeks.csv
      securefl predict model --as-of 2026-03-01 --out churn.csv
      securefl predict runs/a/released --data ours.toml --out lists.csv
    """
)
@click.argument("model", type=_FILE, metavar="MODEL")
@click.option(
    "--data",
    type=_FILE,
    metavar="PATH",
    help="Your data now: a CONFIG.toml with a section 'data', a folder with the files that the"
    " run's configuration names, or a file of transactions; those of the run if not given.",
)
@click.option(
    "--out",
    type=_FILE,
    metavar="FILE",
    help="A new .csv, .parquet or .jsonl file; without it, the first rows are shown.",
)
@click.option("--k", type=click.IntRange(min=1), metavar="N", help="Length of each list.")
@click.option(
    "--customers",
    type=_FILE,
    metavar="FILE",
    help="One customer a line; all in the data if not given.",
)
@click.option(
    "--department",
    "departments",
    multiple=True,
    metavar="NAME",
    help="List products of this department; may be repeated.",
)
@click.option(
    "--without-department",
    "without",
    multiple=True,
    metavar="NAME",
    help="List none of this department; may be repeated.",
)
@click.option(
    "--candidates", type=_FILE, metavar="FILE", help="Products that may be listed, one a line."
)
@click.option("--keep-bought", is_flag=True, help="List what a customer bought before, too.")
@click.option("--new-products", is_flag=True, help="Rank products that count as new, alone.")
@click.option(
    "--horizon", type=click.IntRange(min=1), metavar="H", help="Weeks or days to forecast."
)
@click.option(
    "--interval", type=Real(), metavar="P", help="Probability that a band holds; 0.8 if not given."
)
@click.option(
    "--as-of",
    metavar="DATE",
    help="Ignore what happened from this day on; the data are complete until then.",
)
@click.option(
    "--member",
    metavar="NAME",
    help="With a released model: which retailer of the data it is served for.",
)
@click.option(
    "--agreement",
    type=_FILE,
    metavar="FILE",
    help="Refuse a model of another agreement than this one.",
)
@format_option
@quiet_option
def predict(
    *,
    model: Path,
    data: Path | None,
    out: Path | None,
    customers: Path | None,
    member: str | None,
    agreement: Path | None,
    format: str,  # noqa: A002 - named after the option
    quiet: bool,
    **asked: Any,  # noqa: ANN401 - click's values
) -> None:
    """Use the model that a retailer holds after a run, on its data as they are now.

    What is written depends on the task: lists of products for customers, forecasts of series with
    bands, order levels, prices with elasticities, or probabilities of customers not to come back.
    """
    from securefl.tasks.served.model import open_model

    if out is not None:
        from securefl.data.writers import check_table

        check_table(out)  # before minutes of work
    if not quiet:
        show_reading(progress=False)  # a bad line is left out, with its count and reason
    opened = open_model(model, data, member)
    if agreement is not None:
        _check_agreement(opened, agreement)
    listed = asked["candidates"]
    candidates = None if listed is None else _labels(listed)
    request = _request(opened, asked, candidates)
    labels = None if customers is None else _labels(customers)
    unknown = {
        "unknown_customers": _told("customers", customers, labels, opened),
        "unknown_candidates": _told("products", listed, candidates, opened),
    }
    frames = _watched(opened.stream(request, None, labels), quiet=quiet)
    if out is None:
        _show(opened, frames, unknown, format)
        return
    from securefl.data.writers import new_table

    with new_table(out) as write:
        rows = _written(frames, write)
    _conclude(opened, model, {"out": str(out), "rows": rows, **unknown}, format)


def _request(model: Model, asked: dict[str, Any], candidates: list[str] | None) -> Request:
    from securefl.tasks.common.serving import Request
    from securefl.tasks.served.own_data import moment

    limits = model.limited(asked["departments"], asked["without"], candidates)
    return Request(
        k=asked["k"],
        candidates=limits,
        keep_bought=asked["keep_bought"] or None,
        new_products=asked["new_products"] or None,
        horizon=asked["horizon"],
        interval=asked["interval"],
        as_of=None if asked["as_of"] is None else moment(asked["as_of"]),
    )


def _labels(path: Path) -> list[str]:
    from securefl.untrusted.files import read_text

    found = [line.strip() for line in read_text(path, _LARGEST_LIST).splitlines()]
    found = [line for line in found if line]
    if not found:
        raise InputError(f"{path} is empty")
    return list(dict.fromkeys(found))


def _told(what: str, path: Path | None, labels: list[str] | None, model: Model) -> list[str]:
    """Return the labels of a file that nobody knows, and say which; none known is a wrong file.

    A stranger is served with popular products, which nobody may take for a list of their own.
    """
    if labels is None or what not in {"products", *model.opened.served.options}:
        return []  # what this model cannot be asked for is refused with the request
    if what == "customers":
        unknown = model.read().strangers(labels)
    else:
        unknown = [one for one in labels if model.opened.vocabulary.number(one) < 0]
    if not unknown:
        return []
    named = ", ".join(unknown[:_NAMED]) + (", ..." if len(unknown) > _NAMED else "")
    said = f"{len(unknown):,} of {len(labels):,} {what} in {path} are unknown: {named}"
    if len(unknown) == len(labels):
        raise InputError(said)
    Screen(err=True).line(f"Warning: {said}")
    return unknown


def _check_agreement(model: Model, path: Path) -> None:
    from securefl.audit.bundle.inputs import pinned_agreement
    from securefl.consortium.agreement.model import agreement_fingerprint

    if agreement_fingerprint(pinned_agreement(path).agreement) != model.manifest.agreement:
        raise InputError(f"the model is of another agreement than {path}")


def _watched(frames: Iterator[pd.DataFrame], *, quiet: bool) -> Iterator[pd.DataFrame]:
    """Yield the frames, and say on stderr how many rows there were."""
    rows, said, screen = 0, 0, Screen(err=True)
    for frame in frames:
        rows += len(frame)
        if not quiet and rows - said >= _EVERY:
            said = rows
            screen.line(f"{rows:,} rows", "dim")
        yield frame


def _written(frames: Iterator[pd.DataFrame], write: Write) -> int:
    rows = 0
    for frame in frames:
        write(frame)
        rows += len(frame)
    if not rows:
        raise InputError("there is nothing to predict; nothing was written")
    return rows


def _conclude(model: Model, path: Path, written: dict[str, Any], kind: str) -> None:
    about = model.manifest
    if kind == "json":
        print_json(
            {
                **written,
                "task": about.task,
                "model": about.model,
                "member": about.member,
                "agreement": about.agreement,
                "digest": about.digest,
            }
        )
        return
    screen, where = Screen(), f"{written['rows']:,} rows written to {written['out']}"
    screen.line(f"{where}, from {about.member}'s {about.task} model.")
    if about.kind == "member":
        copyable(screen, "Next month", _next_month(path))


def _next_month(path: Path) -> str:
    """Return the command that goes on from a member's model, in its run or on its own machine."""
    from securefl.federation.runs.directory import CONFIG
    from securefl.tasks.served.earlier_model import MEMBERS

    members = path.resolve().parent.parent
    if members.name == MEMBERS and (members.parent / CONFIG).is_file():
        return f"securefl run CONFIG.toml --from {members.parent}"
    return f"securefl facts CONFIG.toml --from {path} --out FACTS"


def _show(
    model: Model, frames: Iterator[pd.DataFrame], unknown: dict[str, list[str]], kind: str
) -> None:
    """Print the first rows."""
    first = next(frames, None)
    if first is None or first.empty:
        raise InputError("there is nothing to predict")
    rows = first.head(_SHOWN)
    if kind == "json":
        print_json({"task": model.manifest.task, "rows": _plain(rows), **unknown}, str)
        return
    screen = Screen()
    for line in rows.to_csv(index=False, float_format="%.6g").splitlines():
        screen.whole(line)
    if len(first) > _SHOWN:
        Screen(err=True).line("These are the first rows; --out FILE writes all of them.", "dim")


def _plain(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): _value(row[name]) for name in row} for row in rows.to_dict("records")]


def _value(value: Any) -> Any:  # noqa: ANN401 - a cell of a table
    return value.item() if hasattr(value, "item") else value
