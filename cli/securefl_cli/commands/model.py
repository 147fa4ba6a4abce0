"""`securefl export` and `securefl serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from securefl.errors import needs_extra
from securefl_cli.options.run import Name
from securefl_cli.rendering.screen import Screen

if TYPE_CHECKING:  # torch waits until a model is opened
    from securefl.tasks.served.model import Model

_FILE = click.Path(path_type=Path)
_data_option = click.option(
    "--data", type=_FILE, metavar="PATH", help="Your data now; as of securefl predict."
)


def _opened(model: Path, data: Path | None) -> Model:
    from securefl.tasks.served.model import open_model

    return open_model(model, data)


@click.command(
    epilog="""\b
    Examples:
      securefl export runs/a/members/north/model --format onnx --out exported
      securefl export runs/a/members/north/model --format vectors --out v.npz
      securefl export runs/a/members/north/model --format mlflow --out flavour
    """
)
@click.argument("model", type=_FILE, metavar="MODEL")
@click.option(
    "--format",
    "form",
    type=Name(("onnx", "torch", "vectors", "mlflow")),
    default="onnx",
    show_default=True,
    help="ONNX, a program of torch.export, vectors for a search, or a model of MLflow.",
)
@click.option(
    "--out",
    type=_FILE,
    required=True,
    metavar="PATH",
    help="A new folder, or a .npz of vectors.",
)
@_data_option
def export(*, model: Path, form: str, out: Path, data: Path | None) -> None:
    """Write a retailer's model for other programs, after comparing it on random inputs."""
    from securefl.tasks.served.export import export_model, export_vectors

    opened = _opened(model, data)
    if form == "vectors":
        products, customers = export_vectors(opened, out)
        Screen().line(f"{products:,} products and {customers:,} customers written to {out}.")
        return
    if form == "mlflow":
        from securefl.tasks.served.mlflow_flavour import write_mlflow

        write_mlflow(opened, out)
        Screen().line(f"Written to {out}; load it with mlflow.pyfunc.load_model.")
        return
    off = export_model(opened, "onnx" if form == "onnx" else "torch", out)
    Screen().line(f"Written to {out}; it differs from the model by {off:.1e} at most.")


@click.command(
    epilog="""\b
    Examples:
      securefl serve runs/a/members/north/model --port 8080
      curl -d '{"customers": ["C-17"], "k": 5}' http://127.0.0.1:8080/recommend
    """
)
@click.argument("model", type=_FILE, metavar="MODEL")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8080,
    show_default=True,
    metavar="N",
    help="Port on 127.0.0.1.",
)
@_data_option
def serve(*, model: Path, port: int, data: Path | None) -> None:
    """Answer programs on this machine over HTTP, until Ctrl-C.

    POST /recommend, /forecast or /score, whichever the model does; GET /healthz and /openapi.json,
    and / for a page of it. Other machines cannot reach it.
    """
    try:
        import uvicorn

        from securefl.tasks.served.http import application
    except ImportError:
        raise needs_extra("uvicorn", "serving") from None
    from securefl.tasks.served.loopback import LOOPBACK, listening

    opened = _opened(model, data)
    if data is not None:
        opened.read_data()  # a wrong file is refused now, and not at the first question
    # Without its own configuration of logs, which closes the handlers of everything else.
    settings = uvicorn.Config(
        application(opened), log_config=None, log_level="warning", access_log=False
    )
    with listening(LOOPBACK, port) as link:
        Screen(err=True).line(f"http://{LOOPBACK}:{port}/ answers; Ctrl-C ends it")
        uvicorn.Server(settings).run(sockets=[link])
