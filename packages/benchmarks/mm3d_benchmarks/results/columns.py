"""What a column of a table is: its heading, unit, printed decimals, and which direction is better.

Scores arrive in percent, as the metrics compute them. A column not named here is a score in percent, unless its name
starts with a known prefix (``IoU/``, ``AP@0.25/``): then the part after the slash, the class, is the heading.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    name: str
    heading: str
    unit: str = "%"
    decimals: int = 1
    better: str = "higher"
    exact: bool = False

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
