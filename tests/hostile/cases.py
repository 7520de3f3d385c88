"""Every reader of the project: an honest file for it, and how it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """One reader.

    Attributes:
        kind: format, for the mutations.
        files: what is mutated, one at a time, below the working folder.
        make: writes the honest files into a folder.
        read: calls the reader; it may write below ``out`` only.
        named: words that name the file in a message, besides its own name.
        forgiving: damage means starting again, not an error.
    """

    name: str
    kind: str
    files: tuple[str, ...]
    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    named: tuple[str, ...] = ()
    forgiving: bool = False


def all_cases() -> dict[str, Case]:
    """Cases by name; those that need torch last."""
    from hostile.cases_data import CASES as DATA
    from hostile.cases_formats import CASES as FORMATS
    from hostile.cases_runs import CASES as RUNS
    from hostile.cases_weights import CASES as WEIGHTS

    return {case.name: case for case in (*DATA, *FORMATS, *RUNS, *WEIGHTS)}
