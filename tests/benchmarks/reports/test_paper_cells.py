"""Every cell that the paper printed stands exactly once in the reports, in the right table, with the right value."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from mm3d_benchmarks.reports.build import build_report

ROOT = Path(__file__).parents[3]
FACTS = ROOT / "../shared/facts"
FILES = ("paper_tables_segmentation.yaml", "paper_tables_detection.yaml")
COLUMNS = {"mAP25": "mAP@0.25", "mAP50": "mAP@0.5"}
IN_TEXT = {
    "TEXT-4.5": "table_08",
    "TEXT-4.2": "table_02",
}  # printed in running text, shown under the table it belongs to

pytestmark = pytest.mark.skipif(not FACTS.is_dir(), reason="the transcription of the paper is not at hand")


def paper() -> list[dict[str, Any]]:
    """All transcribed cells."""
    return [cell for name in FILES for cell in yaml.safe_load((FACTS / name).read_text(encoding="utf-8"))]


def place(cell: dict[str, Any]) -> str:
    """Beginning of the name of the report that must hold the cell."""
    table = cell["table"]
    kind = "table" if table.startswith("T") else "figure"
    return IN_TEXT.get(table) or f"{kind}_{int(table[1:]):02d}"


def values(cell: dict[str, Any]) -> dict[str, float | None]:
    """Column to printed value, per-class values included."""
    flat: dict[str, float | None] = {COLUMNS.get(str(k), str(k)): v for k, v in cell["metrics"].items() if k != "IoU"}
    return flat | {f"IoU/{name}": v for name, v in cell["metrics"].get("IoU", {}).items()}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """Cell to (report, line of its CSV), as often as it occurs, from reports without a single run."""
    folder = tmp_path_factory.mktemp("results")
    build_report(None, "smoke", folder, ROOT / "sweeps", partial=True)
    found: dict[str, list[tuple[str, dict[str, str]]]] = defaultdict(list)
    for path in sorted((folder / "smoke").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as stream:
            for line in csv.DictReader(stream):
                if line.get("published cell"):
                    found[line["published cell"]].append((path.stem, line))
    return found


@pytest.mark.parametrize("cell", paper() if FACTS.is_dir() else [], ids=lambda cell: cell["id"])
def test_a_printed_cell_is_shown_once_where_it_belongs(cell, shown):
    assert len(shown[cell["id"]]) == 1, f"{cell['id']} is shown {len(shown[cell['id']])} times"
    report, line = shown[cell["id"]][0]
    assert report.startswith(place(cell))
    assert line["published origin"] == cell["origin"]
    for column, value in values(cell).items():
        if value is not None:
            assert float(line[f"{column} published"]) == value, column
    for name, gain in cell.get("delta", {}).items():
        if gain is not None and f"{COLUMNS.get(name, name)} published delta" in line:
            assert float(line[f"{COLUMNS.get(name, name)} published delta"]) == gain, name
