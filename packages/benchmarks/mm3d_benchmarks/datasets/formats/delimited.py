"""Tables of numbers as text (XYZ, TXT, ASC, CSV, PTS): separator, heading and decimal mark, told by the first lines."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.formats.texttable import text_of
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, reading

HEAD = 4096  # bytes that tell
COMMENTS = ("#", "//", "%", ";")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|nan|inf", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How a text is laid out.

    Attributes:
        skipped: lines before the numbers.
        names: of the columns, where a heading gives them.
        separator: between values, a regular expression or one character.
        decimal: ``.`` or ``,``.
        width: values of a row.
        trailing: separators without a value at the end of each row.
    """

    skipped: int
    names: tuple[str, ...]
    separator: str
    decimal: str
    width: int
    trailing: int = 0


def layout_of(text: str) -> Layout | None:
    """The layout of a text that begins like a table of three or more numbers a row, else None."""
    headings: list[tuple[str, ...]] = []
    for number, line in enumerate(text.splitlines()):
        plain = line.strip()
        if not plain:
            continue
        for separator in (";", "\t", ",", r"\s+"):
            for decimal in (".", ","):
                if separator == decimal:
                    continue
                words = [
                    w.strip().strip('"').replace(decimal, ".") for w in re.split(separator, plain.strip(separator))
                ]
                if (
                    len(words) >= 3
                    and sum(bool(NUMBER.fullmatch(word)) for word in words) >= 3
                    and NUMBER.fullmatch(words[0])
                ):
                    whole = line.rstrip("\r\n ")
                    trailing = len(whole) - len(whole.rstrip(separator)) if len(separator) == 1 else 0
                    return Layout(number, _names(headings, len(words)), separator, decimal, len(words), trailing)
        words = _heading(line)
        if len(words) >= 3:
            headings.append(words)
        elif not plain.startswith(COMMENTS) and not re.fullmatch(r"\d+", plain):  # a PTS begins with its count
            return None
    return None


def _names(headings: list[tuple[str, ...]], width: int) -> tuple[str, ...]:
    """The line of as many words as a row has values, of several the one whose words differ most: units repeat."""
    fitting = [words for words in reversed(headings) if len(words) == width]
    return max(fitting, key=lambda words: len(set(words)), default=())


def _heading(line: str) -> tuple[str, ...]:
    """Names in a line; an empty one, as pandas calls its index, keeps its place between separators."""
    bare = line.strip("\r\n ").lstrip("#/% ").rstrip(";,\t")
    separator = next((mark for mark in (";", "\t", ",") if bare.count(mark) > 1), None)
    words = bare.split(separator) if separator else re.split(r"[;,\t]|\s+", bare)
    return tuple(word.strip().strip('"') for word in words if separator or word.strip())


def looks_like_table(path: Path) -> bool:
    """Whether a text file begins with rows of numbers."""
    try:
        with open(path, "rb") as stream:
            return layout_of(_text(stream.read(HEAD))) is not None
    except OSError:
        return True  # said when it is read


def read_delimited(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """The columns of a text by their names, or the whole table where the text names none.

    Raises:
        BrokenSceneError: unreadable, or no table of numbers.
    """
    import pandas as pd  # takes a third of a second, which folders without tables need not wait

    with reading(path):
        text = _text(path.read_bytes())
    layout = layout_of(text[: 4 * HEAD])
    if layout is None:
        raise BrokenSceneError(f"{path}: does not begin like a table of numbers, x y z first; export it again")
    try:
        table = pd.read_csv(
            io.StringIO(text), sep=layout.separator, skiprows=layout.skipped, header=None, decimal=layout.decimal,
            names=range(layout.width + layout.trailing), engine="c", skipinitialspace=True, on_bad_lines="error",
            comment="#",
        )  # fmt: skip
    except (ValueError, OverflowError, MemoryError) as error:
        raise BrokenSceneError(
            f"{path}: damaged table ({' '.join(str(error).split())[:200]}); export it again"
        ) from error
    if not isinstance(table.index, pd.RangeIndex) or table.iloc[:, layout.width :].notna().any(axis=None):
        raise BrokenSceneError(
            f"{path}: damaged table (its rows hold more values than the first one's {layout.width}); export it again"
        )
    names = layout.names or tuple(map(str, range(layout.width)))
    columns: dict[str, np.ndarray] = {}
    for i, name in enumerate(names):  # of columns of one name, the first keeps it
        columns[name if name not in columns else f"{name}.{i}"] = table[i].to_numpy()
    wrong = next((name for name in list(columns)[:3] if columns[name].dtype.kind not in "iuf"), None)
    if wrong is not None:
        raise BrokenSceneError(f"{path}: a row of another kind among the numbers (column {wrong}); export it again")
    if layout.names:
        return columns, None
    if any(column.dtype.kind not in "iufb" for column in columns.values()):
        return columns, None
    return {}, np.column_stack(list(columns.values()))


def _text(data: bytes) -> str:
    try:
        return text_of(data)
    except ValueError:
        return data.decode("latin-1")
