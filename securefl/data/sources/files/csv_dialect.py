"""How one CSV file is written: its encoding, its separator, its header."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from securefl.config.files import FileFormat
from securefl.data.sources.files.csv_lines import LinesAlone
from securefl.data.sources.files.locate import TableFile
from securefl.errors import DataError, InputError

SEPARATORS: Final = (",", ";", "\t", "|")
_SAMPLE: Final = 1 << 18
REPLACED: Final = "replace"
"""How bytes are read that are no text, where they may not decide about others."""

_BLOCK: Final = 1 << 20
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MIXED: Final = "mixed"
"""Lines that end now with a line feed, now with a carriage return before it."""

NAMES: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class CsvDialect:
    r"""How a file is written.

    Attributes:
        encoding: As Python calls it.
        guessed_encoding: Whether nothing says so: the file is not UTF-8, and the encoding is the
            most frequent other one. Such a file is refused, with what it would read.
        separator: Between cells.
        quote: Around cells, empty where quotes mean nothing.
        columns: Names of the columns, without surrounding blanks.
        skip: Lines above the first line of data.
        newline: `\r` where lines end with it alone, `MIXED` where they end in two ways; else
            empty.
        strange: A text of the file that is not ASCII, as the guessed encoding reads it.
    """

    encoding: str
    guessed_encoding: bool
    separator: str
    quote: str
    columns: tuple[str, ...]
    skip: int
    newline: str
    strange: str = ""

    @property
    def said(self) -> str:
        """One line for a person; empty for UTF-8 and commas, which need no word."""
        if self.encoding in ("utf-8", "utf-8-sig") and self.separator == ",":
            return ""
        between = NAMES.get(self.separator, repr(self.separator))
        return f"{self.encoding}, separated by {between}"


def csv_dialect(
    file: TableFile, given: FileFormat, wanted: Sequence[str], *, apart: bool = False
) -> CsvDialect:
    """Find out how a file is written, as far as `given` does not say it.

    The separator is the one whose header has most of the `wanted` columns, and of those the one
    with most columns; nothing else is guessed from the text below.

    Args:
        file: The file.
        given: How it is written, as far as that is known.
        wanted: Columns that are looked for.
        apart: Whether no line may decide about others: then nothing is found out from the text
            below the header, and a file without one is refused.

    Raises:
        InputError: The file may not be read.
        DataError: The file is empty, damaged, or not text of its encoding.
    """
    if apart and not given.header:
        raise DataError(
            f"{file.label}: has no header: under a privacy budget, a customer's line must not say"
            " how all are read; write the columns' names above"
        )
    sample = _sample(file)
    marked = any(sample.startswith(mark) for mark, _ in _MARKS)
    if given.encoding is None and not (marked or apart) and _is_binary(sample):
        raise DataError(
            f"{file.label}: cannot be read: null bytes in it; if it is text, set format.encoding"
        )
    encoding, guessed = _encoding(sample, given, apart=apart)
    text = _decode(sample, encoding, file, errors=REPLACED if apart else "strict")
    newline = MIXED if apart else _newline(text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    skip = given.skip
    separator = given.separator
    if lines[skip : skip + 1] and lines[skip].lower().startswith("sep="):
        told = lines[skip][4:5]  # a line that Excel writes and reads
        if separator in (None, told):
            separator, skip = told, skip + 1
    while skip < len(lines) and not lines[skip].strip():
        skip += 1
    if skip == len(lines):
        raise DataError(f"{file.label}: cannot be read: Empty CSV file")
    separator = separator or _separator(lines[skip:], given.quote, wanted)
    header = _header(lines[skip:], separator, given.quote)
    if given.header:
        columns, skip = tuple(cell.strip() for cell in header), skip + 1 + _breaks(header)
    else:
        columns = tuple(str(number + 1) for number in range(len(header)))
    strange = next((line for line in lines if not line.isascii()), "")[:60] if guessed else ""
    return CsvDialect(encoding, guessed, separator, given.quote, columns, skip, newline, strange)


def _newline(text: str) -> str:
    pairs = text.count("\r\n")
    if pairs in (0, text.count("\n")):
        return "\r" if "\r" in text and not pairs and "\n" not in text else ""
    return MIXED


def _breaks(header: Sequence[str]) -> int:
    return sum(cell.count("\n") for cell in header)


def _sample(file: TableFile) -> bytes:
    """Return the first bytes, unpacked."""
    try:
        with pa.input_stream(str(file.path), compression=file.compression) as stream:
            content: bytes = stream.read(_SAMPLE)
    except PermissionError as problem:
        raise InputError(f"{file.label}: may not be read") from problem
    except (OSError, pa.ArrowException) as problem:
        why = " ".join(str(problem).split())
        raise DataError(f"{file.label}: cannot be read: {why}") from problem
    if not content:
        raise DataError(f"{file.label}: cannot be read: Empty CSV file")
    return content


def _is_binary(sample: bytes) -> bool:
    """Return whether null bytes are no half of UTF-16's characters."""
    nulls = sample.count(0)
    return nulls > 0 and not len(sample) // 5 <= nulls <= len(sample) * 3 // 5


def _encoding(sample: bytes, given: FileFormat, *, apart: bool) -> tuple[str, bool]:
    """Return the encoding, and whether it is a guess."""
    for mark, name in _MARKS:
        if sample.startswith(mark) and given.encoding in (None, name, "utf-8"):
            return name, False
    if given.encoding is not None:
        return given.encoding, False
    if apart:
        return "utf-8", False
    if b"\0" in sample:
        return ("utf-16-le" if sample[1:2] == b"\0" else "utf-16-be"), True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252", True
    return "utf-8", False


def _decode(sample: bytes, encoding: str, file: TableFile, errors: str) -> str:
    """Return the text; a character that the sample cuts in two is left out."""
    try:
        return codecs.getincrementaldecoder(encoding)(errors).decode(sample)
    except UnicodeDecodeError as problem:
        raise wrong_encoding(file, encoding, problem) from problem


def wrong_encoding(file: TableFile, encoding: str, problem: UnicodeDecodeError) -> DataError:
    """Return the error for a file that is not in the encoding that was given."""
    found = problem.object[problem.start : problem.end].hex()
    return DataError(
        f"{file.label}: cannot be read: it is not {encoding} (bytes {found}); set format.encoding"
    )


def _separator(lines: Sequence[str], quote: str, wanted: Sequence[str]) -> str:
    def fit(separator: str) -> tuple[int, int]:
        header = [cell.strip() for cell in _header(lines, separator, quote)]
        return len(set(wanted) & set(header)), len(header)

    return max(SEPARATORS, key=fit)


def _header(lines: Sequence[str], separator: str, quote: str) -> list[str]:
    rows = csv.reader(
        (line + "\n" for line in lines),
        delimiter=separator,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )
    try:
        return next(rows)
    except csv.Error:
        return [lines[0]]


def transcode(
    file: TableFile, encoding: str, target: Path, alone: LinesAlone | None = None
) -> None:
    """Write a text file as UTF-8, with one kind of line end, to the new file `target`.

    Args:
        file: The file.
        encoding: Its encoding.
        target: Where to.
        alone: Takes out what is no line by itself, where no line may decide about others; then
            what is not text of the encoding is replaced where it stands.

    Raises:
        DataError: The file is damaged, or not text of this encoding.
    """
    decode = codecs.getincrementaldecoder(encoding)("strict" if alone is None else REPLACED)
    lines = io.IncrementalNewlineDecoder(None, translate=True)

    def text(block: bytes, *, last: bool = False) -> str:
        found = lines.decode(decode.decode(block, last), last)
        return found if alone is None else alone(found, last=last)

    try:
        with (
            pa.input_stream(str(file.path), compression=file.compression) as source,
            target.open("x", encoding="utf-8", newline="") as out,
        ):
            while block := source.read(_BLOCK):
                out.write(text(block))
            out.write(text(b"", last=True))
    except UnicodeDecodeError as problem:
        raise wrong_encoding(file, encoding, problem) from problem
    except (OSError, pa.ArrowException) as problem:
        why = " ".join(str(problem).split())
        raise DataError(f"{file.label}: cannot be read: {why}") from problem
