"""What README and docs say was found stands in the committed results, digit for digit.

Behind a claim stands a comment that no reader of the page sees, in one of three forms:

* ``+5.3 [2.5, 8.2]<!--controls: oracle, with labels / PointTrans-->``: a difference and its interval over the seeds, of
  one row of a table; ``; mAP@0.25`` behind the row names a column other than mIoU;
* ``none hold, one is reversed, eleven are unresolved<!--verdicts table_07_framework_ablation-->``;
* ``4.0<!--study/statistics_resolution.csv; table=controls; column=mIoU => smallest difference-->``: any number of any
  file.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mm3d_benchmarks.reports.build import build_report

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NUMBER = r"[+−-]?\d+(?:\.\d+)?"
COMMENT = re.compile(r"<!--(.*?)-->", re.S)
INTERVAL = re.compile(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]<!--([^:>]+): ([^;>]+?)(?:; ([^>]+?))?-->")
ANY = re.compile(rf"({NUMBER})<!--([^>]*?)=>([^>]*?)-->")
VERDICTS = re.compile(r"([\w ,]+)<!--verdicts ([^>]+?)-->")
FOUND = re.compile(r"^## What the suite found$(.*?)(?=^## )", re.M | re.S)

DIFFERENCES = "study/statistics_differences.csv"
COMPARISONS = "study/statistics_comparisons.csv"
IN_WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True)
class Claim:
    """``shown`` is the number in the text; ``filters`` name one row of a file."""

    page: str
    shown: str
    file: str
    filters: tuple[tuple[str, str], ...]
    column: str

    def __str__(self) -> str:
        return f"{self.page}: {self.shown} ({'; '.join(value for _, value in self.filters)})"


def claims(text: str, page: str) -> Iterator[Claim]:
    """All numbers of a page that have a source."""
    for *shown, table, row, column in INTERVAL.findall(text):
        filters = (("table", table), ("row", row), ("column", column or "mIoU"))
        for number, of in zip(shown, ("difference", "low over seeds", "high over seeds"), strict=True):
            yield Claim(page, number, DIFFERENCES, filters, of)
    for number, source, column in ANY.findall(text):
        file, *filters = (part.strip() for part in source.split(";"))
        pairs = (part.partition("=") for part in filters)
        yield Claim(page, number, file, tuple((key, value) for key, _, value in pairs), column.strip())


def rows_of(file: Path, filters: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    """The rows of a CSV that have these values."""
    with file.open(encoding="utf-8", newline="") as handle:
        return [row for row in csv.DictReader(handle) if all(row[key] == value for key, value in filters)]


def value_of(claim: Claim, results: Path) -> float:
    """The committed number."""
    rows = rows_of(results / claim.file, claim.filters)
    assert len(rows) == 1, f"{claim}: {len(rows)} rows of {claim.file} fit {claim.filters}"
    return float(rows[0][claim.column])


def holds(claim: Claim, results: Path = RESULTS) -> bool:
    """Whether the number is the committed one, rounded to the digits that are shown."""
    shown = claim.shown.replace("−", "-")
    digits = len(shown.partition(".")[2])
    return f"{value_of(claim, results):.{digits}f}" == f"{float(shown):.{digits}f}"


def verdicts_hold(words: str, table: str, results: Path = RESULTS) -> bool:
    """Whether "none hold, one is reversed, eleven are unresolved" counts what the comparisons of a table say."""
    counted = Counter(row["verdict"] for row in rows_of(results / COMPARISONS, (("table", table),)))
    said = {
        kind: int(match[1]) if match[1].isdigit() else IN_WORDS.index(match[1])
        for kind, ending in (
            ("holds", "holds?"),
            ("reversed", "(?:is|are) reversed"),
            ("unresolved", "(?:is|are) unresolved"),
        )
        if (match := re.search(rf"(\w+) {ending}", words))
    }
    return said == {kind: counted[kind] for kind in ("holds", "reversed", "unresolved")}


TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
EVERY = [claim for name, text in TEXTS.items() for claim in claims(text, name)]


@pytest.mark.parametrize("claim", EVERY, ids=str)
def test_a_number_in_the_text_is_the_committed_one(claim: Claim):
    assert holds(claim), f"{claim} should be {value_of(claim, RESULTS)}"


def test_counted_verdicts_are_the_committed_ones():
    counted = [found for text in TEXTS.values() for found in VERDICTS.findall(text)]
    assert counted
    assert [pair for pair in counted if not verdicts_hold(*pair)] == []


def test_the_committed_tables_and_statistics_are_what_the_committed_inputs_give(tmp_path: Path):
    """Without the store that computed them: nothing was edited, and nothing that decides a verdict is missing."""
    inputs = [Path("study/inputs"), Path("study/runs")]
    for folder in inputs:
        shutil.copytree(RESULTS / folder, tmp_path / folder)
    build_report(None, "study", tmp_path, ROOT / "sweeps", None, partial=True)
    committed = [p for p in (RESULTS / "study").iterdir() if p.suffix in (".csv", ".md", ".tex")]
    assert len(committed) > 20
    assert [p.name for p in committed if p.read_bytes() != (tmp_path / "study" / p.name).read_bytes()] == []


def test_every_source_is_read():
    """A comment of none of the three forms would be a claim that nothing checks."""
    for name, text in TEXTS.items():
        rest = VERDICTS.sub("", ANY.sub("", INTERVAL.sub("", text)))
        assert [c for c in COMMENT.findall(rest) if ".csv" in c or c.startswith("verdicts") or ": " in c] == [], name


def test_no_finding_is_without_a_source():
    section = FOUND.search(TEXTS["README.md"])
    assert section, "README has no section of what was found"
    rest = COMMENT.sub("", ANY.sub("", INTERVAL.sub("", section[1])))
    assert not re.findall(r"\d+\.\d+", rest.replace("mAP@0.25", "").replace("mAP@0.5", ""))


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


def test_a_wrong_interval_is_noticed(tmp_path: Path):
    (tmp_path / "study").mkdir()
    (tmp_path / DIFFERENCES).write_text(
        "table,row,column,difference,low over seeds,high over seeds\nt,a / b,mIoU,1.26,-0.5,3\nt,a / b,mAP,2,1,3\n",
        encoding="utf-8",
    )
    text = "+1.3 [−0.5, 3.0]<!--t: a / b--> and +2.0 [1.0, 3.1]<!--t: a / b; mAP-->"
    assert [holds(claim, tmp_path) for claim in claims(text, "page")] == [True, True, True, True, True, False]


def test_wrong_verdicts_are_noticed(tmp_path: Path):
    (tmp_path / "study").mkdir()
    (tmp_path / COMPARISONS).write_text(
        "table,verdict\nt,holds\nt,unresolved\nt,unresolved\nu,reversed\n", encoding="utf-8"
    )
    assert verdicts_hold("one holds, none is reversed, two are unresolved", "t", tmp_path)
    assert not verdicts_hold("one holds, one is reversed, two are unresolved", "t", tmp_path)
    assert verdicts_hold("1 holds, 0 are reversed, 2 are unresolved", "t", tmp_path)
    assert not verdicts_hold("1 holds, 0 are reversed, 12 are unresolved", "t", tmp_path)
    assert not verdicts_hold("one holds, two are unresolved", "t", tmp_path)
