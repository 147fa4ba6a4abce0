"""The model card: what a model is, how good it is, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Iterator

from securefl.config.metric_labels import LABELS, shown, title
from securefl.config.schema import RunConfig
from securefl.config.task_registry import declaration
from securefl.tasks.common.serving import ServedModel
from securefl.tasks.served.manifest import Figure, Manifest


def model_card(manifest: Manifest, config: RunConfig, served: type[ServedModel], data: str) -> str:
    """Return the card as Markdown.

    Args:
        manifest: What the folder says of itself.
        config: The run's configuration.
        served: The class of the served model.
        data: The data that it was trained on, in words.
    """
    whose = f"Model of {manifest.member}" if manifest.member else "Released shared model"
    return "\n".join(
        (
            f"# {whose}: {declaration(config.task).description}",
            "",
            _what(manifest, config),
            "",
            "## Intended use",
            "",
            served.use,
            "",
            "## Limits",
            "",
            *(f"- {limit}" for limit in _limits(manifest, served)),
            "",
            "## Data",
            "",
            data,
            "",
            *_metrics(manifest),
            "## Privacy",
            "",
            manifest.protection[:1].upper() + manifest.protection[1:],
            "",
            *_who(manifest),
        )
    )


def _what(manifest: Manifest, config: RunConfig) -> str:
    return (
        f"Task `{manifest.task}`, model `{manifest.model}`, the result of {config.rounds} rounds"
        f" in mode `{config.mode}`."
    )


def _limits(manifest: Manifest, served: type[ServedModel]) -> Iterator[str]:
    yield from served.limits
    yield "It was measured on cases of the past; measure again once the data have moved on."
    if manifest.kind == "member":
        yield (
            "This folder holds what was learned from the member's own customers without noise."
            " It is for the member alone; what may be given away is the folder `released`."
        )


def _metrics(manifest: Manifest) -> Iterator[str]:
    if not manifest.metrics:
        return
    yield from ("## Metrics", "", f"On the test cases of {manifest.member} alone:", "")
    yield from ("| metric | value | standard error |", "|---|---:|---:|")
    for name, figure in manifest.metrics.items():
        label = title(name) if name in LABELS else name
        yield f"| {label} | {_number(name, figure.value)} | {_error(name, figure)} |"
    yield from ("", "Standard errors are jackknifed over ten groups of cases.", "")


def _number(name: str, value: float | None) -> str:
    return "not defined" if value is None else shown(name, value)


def _error(name: str, figure: Figure) -> str:
    if figure.standard_error is None:
        return "not known"
    return shown(name, figure.standard_error)


def _who(manifest: Manifest) -> Iterator[str]:
    yield from ("## Who took part", "")
    yield f"{', '.join(manifest.members)}, under the agreement {manifest.agreement}."
    yield from ("", "## Made by", "")
    yield ", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items()))
    yield from ("", f"Digest of the shared part: `{manifest.digest}`", "")
