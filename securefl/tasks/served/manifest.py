"""What a model's folder says of itself, in `model.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from securefl.config.base import Settings
from securefl.errors import InputError

FORMAT: Final = "securefl-model"
VERSION: Final = 1
MANIFEST: Final = "model.json"
SHARED: Final = "shared.safetensors"
FACTS: Final = "facts.safetensors"
FACTS_TREE: Final = "facts.json"
SETTINGS: Final = "settings.json"
VOCABULARY: Final = "vocabulary.json"
CARD: Final = "MODEL_CARD.md"
OWN: Final = "own.safetensors"
OWN_SETTINGS: Final = "own.json"
KEY: Final = "customers.key"
SIGNATURES: Final = "signatures.json"

OPTIMIZER: Final = "optimizer.safetensors"
RETIRED: Final = "retired.safetensors"
RETIRED_LABELS: Final = "retired.json"

RELEASED_FILES: Final = frozenset({SHARED, FACTS, FACTS_TREE, SETTINGS, VOCABULARY, CARD})
MEMBER_FILES: Final = RELEASED_FILES | {OWN, OWN_SETTINGS, KEY}
REMOVED_FILES: Final = frozenset({RETIRED, RETIRED_LABELS})
"""Both or none: rows of removed products, where they are kept."""
STARTED_FROM: Final = frozenset({FACTS, FACTS_TREE, VOCABULARY}) | REMOVED_FILES
"""What a later run reads besides the shared part."""

Text = Annotated[str, Field(max_length=2_000)]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Figure(Settings):
    """A metric on the member's own test cases."""

    value: float | None
    standard_error: float | None


class Manifest(Settings):
    """The content of `model.json`.

    Attributes:
        format: Always `securefl-model`.
        version: Version of the folder's format.
        kind: A member's model, or the released shared part alone.
        task: The task.
        model: The model's name.
        member: Whose it is; None for a released one.
        members: Who took part, in roster order.
        digest: Digest of the shared part, as members sign it.
        agreement: Fingerprint of the agreement.
        run: Name of the run.
        protection: What protects customers in the shared part.
        metrics: Metric to figure; empty in a released one.
        versions: Versions of what wrote it.
        files: File to SHA-256.
    """

    format: Literal["securefl-model"] = FORMAT
    version: int = VERSION
    kind: Literal["member", "released"]
    task: Text
    model: Text
    member: Text | None
    members: tuple[Text, ...]
    digest: Hex
    agreement: Text
    run: Hex
    protection: Text
    metrics: Mapping[Text, Figure]
    versions: Mapping[Text, Text]
    files: Mapping[Text, Hex]


def manifest_of(tree: Any, where: str) -> Manifest:  # noqa: ANN401 - JSON of any type
    """Return the manifest in a JSON value.

    Raises:
        InputError: If it is none, of another version, or lists other files than its kind has.
    """
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise InputError(f"{where} is of no model: its format is not {FORMAT}")
    if tree.get("version") != VERSION:
        raise InputError(
            f"{where}: version {str(tree.get('version'))[:20]} of the format cannot be read;"
            f" this is securefl for version {VERSION}"
        )
    try:
        found = Manifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))[:100]
        raise InputError(f"{where} is damaged: {key}: {first['msg']}") from None
    wanted = MEMBER_FILES if found.kind == "member" else RELEASED_FILES
    further = found.files.keys() - wanted
    allowed = [frozenset(), REMOVED_FILES]
    if found.kind == "member":
        allowed += [one | {OPTIMIZER} for one in allowed]
    if not wanted <= found.files.keys() or further not in allowed:
        raise InputError(f"{where} is damaged: it does not list {', '.join(sorted(wanted))}")
    return found
