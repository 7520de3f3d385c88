"""The page ``results/<profile>/index.html``: one file, opened from disk, that needs neither network nor server.

Tables, statistics, cards and documents are HTML before any script runs; scripts sort, filter, and draw the scans. The
page carries a content policy that forbids it to load anything.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from mm3d_benchmarks.reports.cards import Card, card_html
from mm3d_benchmarks.reports.markup import to_html
from mm3d_benchmarks.reports.tables import Table
from mm3d_benchmarks.reports.webtable import csv_html, table_html

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
STATISTICS = {
    "statistics_comparisons.csv": "Verdict on each comparison of the paper, in points",
    "statistics_resolution.csv": "Smallest difference that a table could have shown (80 % power), in points",
    "statistics_agreement.csv": "Agreement with the order of the paper's tables (Wilson intervals, 95 %)",
    "statistics_differences.csv": "Differences from the baseline, paired over seeds (95 % intervals)",
    "statistics_spread.csv": "Spread over seeds, in points",
}


@dataclass(frozen=True)
class Page:
    """What the page shows. ``figures``: PNG files and their titles; ``clouds`` as :mod:`clouds` packs them."""

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


def render(page: Page) -> str:
    """The page's text; equal content gives equal bytes."""
    sections = [
        ("overview", "Overview", _overview(page)),
        ("tables", "Tables", "".join(table_html(table) for table in page.tables) or "<p>No table yet.</p>"),
        (
            "figures",
            "Figures",
            "".join(_figure(path, title) for path, title in page.figures.items()) or "<p>No figure yet.</p>",
        ),
        ("viewer", "Scans", _asset("viewer.html") if page.clouds else "<p>No run left a scan to show.</p>"),
        ("statistics", "Statistics", _statistics(page)),
        ("runs", "Runs", _runs(page)),
        ("deviations", "Deviations", to_html(page.deviations) or "<p>No list of deviations was found.</p>"),
    ]
    parts = {
        "policy": POLICY,
        "title": html.escape(f"MM-3DScene, profile {page.profile}"),
        "style": _asset("page.css"),
        "nav": "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections),
        "body": "".join(f'<section id="{n}"><h2>{title}</h2>{text}</section>' for n, title, text in sections),
        "data": json.dumps(list(page.clouds), sort_keys=True).replace("<", "\\u003c"),
        "script": _asset("page.js") + _asset("viewer.js"),
    }
    before, *rest = _asset("page.html").split("{{")
    return before + "".join(parts[name] + text for name, text in (piece.split("}}", 1) for piece in rest))


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
    data = base64.b64encode(path.read_bytes()).decode()
    pdf = html.escape(path.stem + ".pdf")
    return (
        f'<figure class="picture" id="{html.escape(path.stem)}"><img alt="{title}" src="data:image/png;base64,{data}">'
        f'<figcaption>{title} <span class="files"><a href="{pdf}">pdf</a></span></figcaption></figure>'
    )


def _statistics(page: Page) -> str:
    made = [csv_html(title, page.statistics[name]) for name, title in STATISTICS.items() if name in page.statistics]
    text = page.statistics.get("statistics_agreement.md", "")
    method = text[text.find("Method. ") :] if "Method. " in text else ""
    drawn = page.comparisons
    picture = _figure(drawn, "Every comparison of the paper, in its direction") if drawn and drawn.is_file() else ""
    return picture + "".join(made) + (f"<p>{html.escape(method)}</p>" if method else "")


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
