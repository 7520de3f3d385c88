"""The results' CSV, and what a column of a table is: its heading, unit, decimals, and which direction is better.

Long form, one line per value, the same for ``inputs/<table>.csv`` and ``<table>.efficiency.csv``, which holds the
columns that differ from run to run (``COSTS``):

    row,column,seed,value,status,run

A status other than ``done`` (``missing``, ``failed``, or any other word) leaves the value out of every mean. Scores
arrive in percent, as the metrics compute them. A column not named here is a score in percent, unless its name starts
with a known prefix (``IoU/``, ``AP@0.25/``): then the part after the slash, the class, is the heading.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from mm3d_benchmarks.store.layout import KEY
from mm3d_core.errors import UserError


class Line(NamedTuple):
    """One value: a seed of a row in a column, and the run that gave it, or should have."""

    row: str
    column: str
    seed: str
    value: str
    status: str
    run: str


def csv_text(lines: Iterable[Line]) -> str:
    """The file's text; equal lines give equal bytes, whatever their order."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([Line._fields, *sorted(lines)])
    return buffer.getvalue()


def read_lines(path: Path) -> list[Line]:
    """The lines of a CSV, in their order.

    Raises:
        UserError: unreadable, with other columns, or a run that is no key.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            header, *rest = [line for line in csv.reader(stream, strict=True) if line] or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); run `mm3d collect` again") from error
    if tuple(header) != Line._fields:
        raise UserError(f"{path}: columns are {header}, expected {list(Line._fields)}; run `mm3d collect` again")
    for number, line in enumerate(rest, start=2):
        if len(line) != len(header) or (line[-1] and not KEY.fullmatch(line[-1])):
            raise UserError(
                f"{path}: line {number} is no value with the key of its run ({','.join(line)[:100]!r}); "
                "run `mm3d collect` again"
            )
    return [Line(*line) for line in rest]


@dataclass(frozen=True)
class Column:
    """One quantity.

    Attributes:
        name: as in ``metrics.json``, the sweep's ``columns`` and the CSV.
        heading: as printed.
        unit: printed behind the heading; empty for none.
        decimals: digits behind the point, of the mean and of its deviation.
        exact: the same for every seed, so printed without a deviation.
        better: ``"higher"``, ``"lower"``, or ``""`` where no value is the best (sizes, hours: the paper marks none).
        printed_decimals: the same of what a paper printed, where ours are written finer; None: ``decimals``.
    """

    name: str
    heading: str
    unit: str = "%"
    decimals: int = 1
    better: str = "higher"
    exact: bool = False
    printed_decimals: int | None = None

    @property
    def as_printed(self) -> Column:
        """The column as a paper prints it."""
        return self if self.printed_decimals is None else replace(self, decimals=self.printed_decimals)

    def finer(self, digits: int = 1) -> Column:
        """The same quantity with so many digits more for what was measured."""
        return replace(self, decimals=self.decimals + digits, printed_decimals=self.as_printed.decimals)

    @property
    def title(self) -> str:
        """The heading with its unit; plain scores carry none, the caption says percent."""
        return self.heading if self.unit in ("", "%") else f"{self.heading} ({self.unit})"

    def number(self, value: float) -> str:
        """The value with this column's decimals; never ``-0.0``."""
        return f"{value:.{self.decimals}f}".replace("-0." + "0" * self.decimals, "0." + "0" * self.decimals)

    def gain(self, value: float) -> str:
        """The value with its sign, as the paper writes differences; zero is ``+0.0``."""
        text = self.number(value)
        return text if text.startswith("-") else f"+{text}"


_KNOWN = {
    column.name: column
    for column in (
        Column("params_M", "Model size", "M", 2, "", exact=True),
        Column("parameters", "Parameters", "", 0, "", exact=True),
        Column("train_hours", "Train time", "h", 1, ""),
        Column("infer_seconds", "Infer time", "s", 2, ""),
        Column("peak_memory_GB", "Peak memory", "GB", 1, ""),
        Column("enrichment", "Enrichment", "", 2, "higher"),
        Column("loss", "Loss", "", 3, "lower"),
    )
}
COSTS = ("train_hours", "infer_seconds", "peak_memory_GB")  # differ from machine to machine
_PER_CLASS = ("IoU/", "Acc/", "AP@", "AR@")
_ALIASES = {"mAP25": "mAP@0.25", "mAP50": "mAP@0.5"}


def column(name: str) -> Column:
    """The column of that name."""
    if name in _KNOWN:
        return _KNOWN[name]
    if name.startswith(_PER_CLASS) and "/" in name:
        return Column(name, name.split("/", 1)[1])
    return Column(name, _ALIASES.get(name, name))
