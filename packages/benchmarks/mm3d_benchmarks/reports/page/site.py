"""The page ``results/<profile>/index.html``: one file, opened from disk, that needs neither network nor server.

Tables, statistics, cards and documents are HTML before any script runs; scripts sort, filter, and draw the scans. The
page carries a content policy that forbids it to load anything.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from mm3d_benchmarks.reports.page.cards import Card, card_html
from mm3d_benchmarks.reports.page.contents import Entry, Section, contents, picture_entry, picture_id, table_entry
from mm3d_benchmarks.reports.page.markup import to_html
from mm3d_benchmarks.reports.page.webtable import csv_html, table_html
from mm3d_benchmarks.reports.tables import Table
from mm3d_benchmarks.reports.verdicts.resolution import UNRESOLVED

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def _unresolved(line: Mapping[str, str]) -> bool:
    """Whether the interval over seeds, and that over scenes where there is one, does not exclude 0."""
    sides = set()
    for over in ("seeds", "scenes"):
        low, high = line.get(f"low over {over}", ""), line.get(f"high over {over}", "")
        if not low or not high:
            sides |= {0} if over == "seeds" else set()
        else:
            sides.add(1 if float(low) > 0 else (-1 if float(high) < 0 else 0))
    return len(sides) != 1 or 0 in sides


STATISTICS = {  # file to title, the lines that are folded away, and what these are
    "statistics_comparisons.csv": (
        "Verdict on each comparison of the paper, in points",
        lambda line: line.get("verdict") == UNRESOLVED,
        "unresolved: their intervals do not exclude 0, or one seed gives none",
    ),
    "statistics_resolution.csv": (
        "Smallest difference that a table could have shown (80 % power), in points",
        lambda line: False,
        "",
    ),
    "statistics_agreement.csv": (
        "Agreement with the order of the paper's tables (Wilson intervals, 95 %)",
        lambda line: False,
        "",
    ),
    "statistics_differences.csv": (
        "Differences from the baseline, paired over seeds (95 % intervals)",
        _unresolved,
        "unresolved: their intervals do not exclude 0, or one seed gives none",
    ),
    "statistics_spread.csv": (
        "Spread over seeds, in points",
        lambda line: line.get("largest range") == "0.00",
        "without any spread",
    ),
}


@dataclass(frozen=True)
class Page:
    """What the page shows.

    ``figures``: PNG files and their titles; ``clouds`` as :mod:`clouds` packs them; ``files``: names of what lies
    beside it and can be linked (None: everything).
    """

    profile: str
    tables: Sequence[Table]
    figures: Mapping[Path, str] = field(default_factory=dict)
    statistics: Mapping[str, str] = field(default_factory=dict)
    comparisons: Path | None = None  # a PNG file, which need not exist
    cards: Sequence[Card] = ()
    more_runs: int = 0
    clouds: Sequence[Mapping[str, Any]] = ()
    deviations: str = ""
    problems: Sequence[str] = ()
    sources: Sequence[str] = ()
    files: Collection[str] | None = None


def render(page: Page) -> str:
    """The page's text; equal content gives equal bytes."""
    sections = _sections(page)
    parts = {
        "policy": POLICY,
        "title": html.escape(f"MM-3DScene, profile {page.profile}"),
        "style": _asset("page.css"),
        "contents": contents(sections),
        "body": "".join(section.html() for section in sections),
        "data": json.dumps(list(page.clouds), sort_keys=True).replace("<", "\\u003c"),
        "script": _asset("page.js") + _asset("viewer.js"),
    }
    before, *rest = _asset("page.html").split("{{")
    return before + "".join(parts[name] + text for name, text in (piece.split("}}", 1) for piece in rest))


def _sections(page: Page) -> list[Section]:
    """The parts in reading order: the paper's tables, its figures with their numbers, tables of ours, the rest."""
    drawn = {path.stem for path in page.figures}
    paper = [table for table in page.tables if table.name.startswith("table_") and table.name not in drawn]
    numbers = [table for table in page.tables if table.name in drawn or table.name.startswith("figure_")]
    ours = [table for table in page.tables if table not in paper and table not in numbers]
    return [
        Section("overview", "Overview", _overview(page)),
        _tables(page, "tables", "Tables of the paper", paper),
        _figures(page, numbers),
        *([_tables(page, "ours", "Tables of ours", ours)] if ours else []),
        Section("viewer", "Scans", _asset("viewer.html") if page.clouds else "<p>No run left a scan to show.</p>"),
        _statistics(page),
        Section("runs", "Runs", _runs(page)),
        Section("deviations", "Deviations", to_html(page.deviations) or "<p>No list of deviations was found.</p>"),
    ]


def _tables(page: Page, name: str, title: str, tables: Sequence[Table]) -> Section:
    keys = {card.key for card in page.cards}
    body = "".join(table_html(table, keys, page.files) for table in tables) or "<p>No table yet.</p>"
    return Section(name, title, body, [table_entry(table) for table in tables])


def _figures(page: Page, tables: Sequence[Table]) -> Section:
    """Each picture, and behind it the numbers that it draws."""
    keys = {card.key for card in page.cards}
    by_name = {table.name: table for table in tables}
    pieces, entries = [], []
    for path, title in page.figures.items():
        pieces.append(_figure(path, title))
        entries.append(picture_entry(path.stem, title))
        table = by_name.pop(path.stem, None)
        pieces += [table_html(table, keys, page.files)] if table else []
        entries += [table_entry(table)] if table else []
    pieces += [table_html(table, keys, page.files) for table in by_name.values()]  # their picture is not drawn yet
    entries += [table_entry(table) for table in by_name.values()]
    return Section("figures", "Figures of the paper", "".join(pieces) or "<p>No figure yet.</p>", entries)


def _overview(page: Page) -> str:
    sources = set(page.sources)
    warning = ""
    if sources - {"official"}:
        warning = (
            '<p class="warning">Profile <b>' + html.escape(page.profile) + "</b>: at least some of these numbers were "
            "measured on synthetic scenes. They check the pipeline; they are no results on ScanNet, S3DIS or "
            "SUN RGB-D and must not be compared with the published columns.</p>"
        )
    filled = sum(any(c.mean is not None for r in t.rows for c in r.cells.values()) for t in page.tables)
    runs = len(page.cards) + page.more_runs
    facts = (
        f"<p>{filled} of {len(page.tables)} tables have measured values; {len(page.figures)} figures; {runs} runs.</p>"
    )
    if not page.problems:
        return warning + facts + "<p>Nothing is missing.</p>"
    items = "".join(f"<li>{html.escape(problem)}</li>" for problem in page.problems[:200])
    count = len(page.problems)
    return (
        warning
        + facts
        + f"<details><summary>{count} cells or inputs are incomplete</summary><ul>{items}</ul></details>"
    )


def _figure(path: Path, title: str) -> str:
    title = html.escape(title)
    data = base64.b64encode(_in_few_colors(path)).decode()
    pdf = path.with_suffix(".pdf")
    link = f'<a href="{html.escape(pdf.name)}">pdf</a>' if pdf.is_file() else ""
    return (
        f'<figure class="picture" id="{html.escape(picture_id(path.stem))}">'
        f'<img alt="{title}" src="data:image/png;base64,{data}">'
        f'<figcaption>{title} <span class="files">{link}</span></figcaption></figure>'
    )


def _in_few_colors(path: Path) -> bytes:
    """The PNG in its 256 most useful colors, a third of the bytes: the page carries a copy, the file keeps them all."""
    from PIL import Image

    small = io.BytesIO()
    with Image.open(path) as image:
        few = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(small, "PNG", optimize=True)
    return small.getvalue()


def _statistics(page: Page) -> Section:
    pieces, entries = [], []
    if page.comparisons and page.comparisons.is_file():
        title = "Every comparison of the paper, in its direction"
        pieces.append(_figure(page.comparisons, title))
        entries.append(Entry(picture_id(page.comparisons.stem), "", title))
    for file, (title, folds, folded) in STATISTICS.items():
        if file in page.statistics:
            name = file.removesuffix(".csv")
            pieces.append(csv_html(name, title, page.statistics[file], folds, folded))
            entries.append(Entry(name, "", title))
    text = page.statistics.get("statistics_agreement.md", "")
    method = text[text.find("Method. ") :] if "Method. " in text else ""
    pieces += [f"<p>{html.escape(method)}</p>"] if method else []
    return Section("statistics", "Statistics", "".join(pieces), entries)


def _runs(page: Page) -> str:
    if not page.cards:
        return "<p>No run is recorded in the tables, or no store was given.</p>"
    more = (
        f"<p>{page.more_runs} more runs are in the store; see <code>mm3d store ls</code>.</p>" if page.more_runs else ""
    )
    search = '<input id="filter" type="search" placeholder="filter by key, kind or row" aria-label="filter runs">'
    return search + "".join(card_html(card) for card in page.cards) + more


def _asset(name: str) -> str:
    return resources.files("mm3d_benchmarks.reports").joinpath("assets", name).read_text(encoding="utf-8")
