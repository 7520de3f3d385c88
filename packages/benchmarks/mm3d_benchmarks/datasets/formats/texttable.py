"""Rows of numbers in text, read in one pass, and put into typed columns only if they fit."""

from __future__ import annotations

import io
import re
import warnings

import numpy as np

# How programs on Windows print what is no number: -nan(ind), 1.#QNAN, -1.#IND00, 1.#INF
NO_NUMBER = re.compile(rb"[-+]?(?:nan\([^)\s]*\)|1\.#(?:QNAN|SNAN|IND|NAN|INF)[0-9]*)", re.IGNORECASE)


def read_rows(lines: io.BytesIO, count: int, width: int) -> np.ndarray:
    """(count, width) float64 from the first ``count`` lines that are not empty.

    Raises:
        ValueError: fewer lines, another number of values in one of them, or something that is not a number.
    """
    if count == 0:
        return np.zeros((0, width))
    start = lines.tell()
    try:
        rows = _loaded(lines, count)
    except ValueError:
        lines.seek(start)
        text = lines.read()
        plain, changed = NO_NUMBER.subn(b"nan", text)
        if not changed:
            raise
        lines = _rewound(lines, plain)
        rows = _loaded(lines, count)
    if rows.shape != (count, width):
        raise ValueError(f"{rows.shape[0]} rows of {rows.shape[1]} numbers, not {count} of {width}")
    return rows


def text_of(data: bytes) -> str:
    """A text file's content in the encoding that it names by its first bytes: UTF-8, or UTF-16 as Excel writes it.

    Raises:
        ValueError: in neither.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def number(word: bytes) -> float:
    """The number that a word is. Raises ValueError where it is none."""
    if b"_" in word:  # which Python would skip
        raise ValueError(f"{word[:40]!r} is no number")
    return float("nan") if NO_NUMBER.fullmatch(word) else float(word)


def wide(kind: str) -> str:
    """The type for a column of text: all digits that are printed are kept, whatever the header calls the column."""
    return "f8" if kind.endswith("f4") else kind


def typed(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """``values`` as ``dtype``.

    Raises:
        ValueError: integers out of range, or numbers that are no integers.
    """
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not ((values >= limits.min) & (values <= limits.max) & (values == np.floor(values))).all():
            raise ValueError(f"{name} holds numbers that are not {dtype}")
    return values.astype(dtype)


def _loaded(lines: io.BytesIO, count: int) -> np.ndarray:
    with warnings.catch_warnings():  # empty lines are passed over, as meant
        warnings.simplefilter("ignore", UserWarning)
        return np.loadtxt(lines, comments=None, ndmin=2, max_rows=count)


def _rewound(lines: io.BytesIO, text: bytes) -> io.BytesIO:
    """The stream with another content from where it stands on."""
    lines.seek(0)
    lines.truncate()
    lines.write(text)
    lines.seek(0)
    return lines
