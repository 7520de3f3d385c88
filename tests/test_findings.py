"""What README and docs say was found stands in the committed results, digit for digit.

A claim is a number with its source behind it, in a comment that no reader sees:
``+5.3<!--study/statistics_differences.csv; table=controls; row=oracle / PointTrans => difference-->``
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NUMBER = r"[+−-]?\d+(?:\.\d+)?"
CLAIM = re.compile(rf"({NUMBER})<!--([^>]*?)=>([^>]*?)-->")
FOUND = re.compile(r"^## What the suite found$(.*?)(?=^## )", re.M | re.S)


@dataclass(frozen=True)
class Claim:
    """``shown`` is the number in the text; ``filters`` name one row of a file."""

    page: str
    shown: str
    file: str
    filters: dict[str, str]
    column: str

    def __str__(self) -> str:
        return f"{self.page}: {self.shown}"


def claims(text: str, page: str) -> Iterator[Claim]:
    """All claims of a page."""
    for shown, source, column in CLAIM.findall(text):
        file, *filters = (part.strip() for part in source.split(";"))
        pairs = dict(part.split("=", 1) for part in filters)
        yield Claim(page, shown, file, pairs, column.strip())


def value_of(claim: Claim, results: Path) -> float:
    """The committed number."""
    with (results / claim.file).open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if all(row[k] == v for k, v in claim.filters.items())]
    assert len(rows) == 1, f"{claim}: {len(rows)} rows of {claim.file} fit {claim.filters}"
    return float(rows[0][claim.column])


def holds(claim: Claim, results: Path = RESULTS) -> bool:
    """Whether the number is the committed one, rounded to the digits that are shown."""
    shown = claim.shown.replace("−", "-")
    digits = len(shown.partition(".")[2])
    return f"{value_of(claim, results):.{digits}f}" == f"{float(shown):.{digits}f}"


EVERY = [claim for page in PAGES for claim in claims(page.read_text(encoding="utf-8"), page.name)]


@pytest.mark.parametrize("claim", EVERY, ids=str)
def test_a_number_in_the_text_is_the_committed_one(claim: Claim):
    assert holds(claim), f"{claim} should be {value_of(claim, RESULTS)}"


def test_no_finding_is_without_a_source():
    section = FOUND.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert section, "README has no section of what was found"
    rest = re.sub(r"<!--.*?-->", "", CLAIM.sub("", section[1]), flags=re.S)
    assert not re.findall(r"\d+\.\d+", rest)


def test_a_wrong_number_is_noticed(tmp_path: Path):
    (tmp_path / "a.csv").write_text("row,x\none,5.297\ntwo,-0.04\n", encoding="utf-8")
    [right] = claims("it adds +5.3<!--a.csv; row=one=>x--> points", "page")
    [wrong] = claims("it adds +5.4<!--a.csv; row=one=>x--> points", "page")
    [minus] = claims("it takes −0.04<!--a.csv; row=two=>x-->", "page")
    assert holds(right, tmp_path)
    assert not holds(wrong, tmp_path)
    assert holds(minus, tmp_path)
    [nowhere] = claims("5.3<!--a.csv; row=three=>x-->", "page")
    with pytest.raises(AssertionError, match="0 rows"):
        value_of(nowhere, tmp_path)
