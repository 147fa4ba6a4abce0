"""A member's own page: its model on held-out cases, from its own data and for it alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np

from securefl.audit.report.own_sections import Label, held_out_section
from securefl.audit.report.page import REPORT, check_place, render
from securefl.audit.report.summary_cards import Card, metric_title
from securefl.audit.report.view_model import Figures, Report, Section
from securefl.config.metric_labels import LABELS, shown, title
from securefl.config.task_registry import declaration
from securefl.ml.tensor_io import write_atomically
from securefl.tasks.served.folder import FOLDER, read_manifest
from securefl.tasks.served.manifest import MANIFEST, Figure, Manifest
from securefl.tasks.served.model import Model, open_model
from securefl.tasks.served.own_data import Data

KIND: Final = "own report"


def model_folder(path: Path) -> Path | None:
    """Return the folder of the model that a path names: itself, or a member's; None for neither."""
    return next((one for one in (path, path / FOLDER) if (one / MANIFEST).is_file()), None)


def write_own_report(folder: Path, out: Path | None = None, data: Data | None = None) -> Path:
    """Write a member's page, which its owner alone may read.

    Args:
        folder: The folder of its model.
        out: The file; `report.html` beside the model's folder if not given.
        data: See `open_model`.

    Returns:
        The path of the page.

    Raises:
        InputError: If the model or the data cannot be used, or something else is in its place.
        RunDirectoryError: If the file cannot be written.
    """
    path = out or folder.resolve().parent / REPORT
    check_place(path, KIND, _subject_of(read_manifest(folder)))
    model = open_model(folder, data)
    drawn = held_out_section(model.held_out(), model.metrics, label_of(model))
    page = render(own_report(model, drawn))
    write_atomically(path, page.encode(), private=True)
    return path


def _subject_of(about: Manifest) -> str:
    """Return what tells the page of a member's model from that of another."""
    return sha256("/".join((about.run, str(about.member), about.digest)).encode()).hexdigest()


def own_report(model: Model, drawn: Section) -> Report:
    """Return the view model of a member's page.

    Args:
        model: The member's model.
        drawn: What it says of held-out cases.
    """
    about = model.manifest
    return Report(
        title=f"{about.member}: {about.task}",
        subtitle=(
            f"Model {about.model}, trained with {len(about.members)} retailers, digest"
            f" {about.digest[:16]}"
        ),
        conclusion=f"What the model says: {declaration(about.task).description}.",
        cards=tuple(_cards(model)),
        sections=(drawn, _measured(model), _use(model)),
        unsigned=(
            f"This page holds {about.member}'s own data: keep it as you keep the data of your"
            " customers, and give it to no other party. No audit covers it."
        ),
        run=_subject_of(about),
        kind=KIND,
        source=f"{about.member}'s own data and model alone",
    )


def label_of(model: Model) -> Label:
    """Return a function that names products, with their departments where these are known."""
    words = model.opened.vocabulary

    def named(product: int) -> str:
        name = str(words.label(np.array([product]))[0])
        department = words.department(product)
        return f"{name} ({department.lower()})" if department else name

    return named


def _cards(model: Model) -> Iterator[Card]:
    known = {name: one for name, one in model.manifest.metrics.items() if name in LABELS}
    chosen = [name for name in known if LABELS[name].headline] or list(known)
    for name in chosen[:3]:
        label = LABELS[name]
        better = "higher" if label.higher_is_better else "lower"
        text = f"{label.meaning[:1].upper()}{label.meaning[1:]}; {better} is better."
        yield Card(label.title, _value(name, known[name]), text, unsigned=False)


def _measured(model: Model) -> Section:
    figures = model.manifest.metrics
    return Section(
        anchor="metrics",
        title="How good it is",
        paragraphs=(
            (
                f"On {model.manifest.member}'s test cases, which no training has seen; errors are"
                " jackknifed over ten groups of cases."
            ),
        ),
        tables=(
            Figures(
                "Metrics on the test cases",
                ("", "Value", "Standard error"),
                tuple(
                    (
                        metric_title(name) if name in LABELS else title(name),
                        _value(name, one),
                        "-" if one.standard_error is None else shown(name, one.standard_error),
                    )
                    for name, one in figures.items()
                ),
            ),
        ),
    )


def _value(name: str, figure: Figure) -> str:
    return "-" if figure.value is None else shown(name, figure.value)


def _use(model: Model) -> Section:
    served, place = model.opened.served, shlex.quote(str(model.opened.folder))
    return Section(
        anchor="use",
        title="What to do with it",
        paragraphs=(served.use,),
        points=(*served.limits, f"In the shared part: {model.manifest.protection}"),
        commands=(f"securefl predict {place} --out predictions.csv",),
    )
