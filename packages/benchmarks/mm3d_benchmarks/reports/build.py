"""What `mm3d report` does: tables, figures, statistics and the page, from the collected inputs and the run store.

Exit status: 0 when everything asked for is complete; 1 when a cell is missing, failed, NaN or contradictory, or an
input is unreadable. The rest is built all the same. With ``partial``, what is merely not there yet is accepted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mm3d_benchmarks.planning.table_spec import TableSpec, load_specs
from mm3d_benchmarks.reports.artefacts import Artefact, find_artefacts
from mm3d_benchmarks.reports.cards import load_cards
from mm3d_benchmarks.reports.clouds import pack
from mm3d_benchmarks.reports.figures import (
    COMPARISONS,
    FALLBACKS,
    is_figure,
    is_picture,
    run_labels,
    write_comparisons,
    write_figure,
)
from mm3d_benchmarks.reports.headline import write_headlines
from mm3d_benchmarks.reports.latex import all_tables, to_latex
from mm3d_benchmarks.reports.scores import readable_store
from mm3d_benchmarks.reports.site import Page, render
from mm3d_benchmarks.reports.tables import Table, build_table, reading_order
from mm3d_benchmarks.reports.text import to_csv, to_markdown
from mm3d_benchmarks.reports.verdicts.comparisons import judge, write_statistics
from mm3d_benchmarks.reports.verdicts.resolution import resolutions, sentence
from mm3d_benchmarks.results.inputs import Inputs, load_inputs
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_text_if_changed

SHOWN = 12  # problems printed before the rest is only counted
PICTURED = 300  # runs whose folders are searched for pictures
PICTURES = 48  # pictures held at once
EXTRAS = ("statistics", "page")


def build_report(
    name: str | None, profile: str, results: Path, sweeps: Path, store: Path | None = None, partial: bool = False
) -> int:
    """Build one report, or all of them, into ``results/<profile>/``.

    Args:
        name: a sweep's name (``table_07_framework_ablation``) or a unique beginning of one (``table_07``);
            ``statistics``; ``page``; None for everything.
        results: the folder that holds ``<profile>/inputs/``.
        sweeps: the folder of the sweep files.
        store: the run store, for figures made from artefacts, scene-wise statistics and run cards; None: without.
        partial: missing cells are shown but do not count as a failure.

    Returns:
        The exit status.

    Raises:
        UserError: no report of that name.
    """
    specs = load_specs(sweeps)
    report = Report(results / profile, profile, specs, store, partial)
    for spec in [] if name in EXTRAS else select(specs, name):
        report.attempt(lambda spec=spec: report.write_table(spec))
        report.attempt(lambda spec=spec: report.write_figure(spec))
    if name is None:
        report.attempt(report.write_remaining_figures)
    if name in (None, "statistics"):
        report.attempt(report.write_statistics)
    if name in (None, "page"):
        report.attempt(lambda: report.write_page(sweeps.parent / "docs" / "deviations.md"))
    if name is None:
        present = [spec.name for spec in specs if (report.folder / f"{spec.name}.tex").exists()]
        present.sort(key=reading_order)
        write_text_if_changed(report.folder / "all_tables.tex", all_tables(present))
        write_headlines(report.readable_tables(), results.parent / "metrics", profile)
    return report.tell()


@dataclass
class Report:
    """One build: where it goes, what it is made from, and what turned out to be wrong."""

    folder: Path
    profile: str
    specs: Sequence[TableSpec]
    store: Path | None
    partial: bool
    problems: list[str] = field(default_factory=list)
    _inputs: dict[str, Inputs] = field(default_factory=dict)
    _tables: dict[str, Table] = field(default_factory=dict)

    def attempt(self, step: Callable[[], object]) -> None:
        """Run one step; a user's error is noted, once, and the next step goes on."""
        try:
            step()
        except UserError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))

    def table(self, spec: TableSpec) -> Table:
        """The table of one sweep, made once. Raises UserError as ``load_inputs``."""
        if spec.name not in self._tables:
            inputs = self.inputs(spec)
            table = build_table(spec, inputs, self.profile)
            resolved = sentence(resolutions(spec, inputs, readable_store([inputs], self.store)))
            self._tables[spec.name] = replace(table, remarks=(*table.remarks, *resolved))
        return self._tables[spec.name]

    def inputs(self, spec: TableSpec) -> Inputs:
        """What was collected for one sweep, read once. Raises UserError as ``load_inputs``."""
        if spec.name not in self._inputs:
            self._inputs[spec.name] = load_inputs(self.folder / "inputs", spec.name)
        return self._inputs[spec.name]

    def write_table(self, spec: TableSpec) -> None:
        """CSV, Markdown and LaTeX; a sweep without columns has runs to draw but nothing to tabulate."""
        if not spec.columns:
            return
        table = self.table(spec)
        for ending, text in (("csv", to_csv(table)), ("md", to_markdown(table)), ("tex", to_latex(table))):
            write_text_if_changed(self.folder / f"{spec.name}.{ending}", text)
        self.problems += table.problems if self.partial else [*table.problems, *table.missing]

    def write_figure(self, spec: TableSpec) -> None:
        """PDF and PNG of a sweep whose name is a figure's."""
        if not is_figure(spec.name) or (is_picture(spec.name) and self.store is None):
            return
        table = self.table(spec)
        artefacts = self.artefacts([table]) if is_picture(spec.name) else []
        if not write_figure(spec.name, table, artefacts, self.folder) and not self.partial:
            self.problems.append(f"{spec.name}: nothing to draw yet; its runs left no pictures")

    def write_remaining_figures(self) -> None:
        """Picture figures that no sweep names, from whatever the runs of all tables left."""
        known = {spec.name[:9] for spec in self.specs}
        names = [name for name in FALLBACKS if name[:9] not in known]
        artefacts = self.artefacts(self.readable_tables()) if names and self.store else []
        for name in names:
            write_figure(name, None, artefacts, self.folder)

    def write_statistics(self) -> None:
        """Differences, verdicts, resolution and spread over all tables whose inputs can be read, and their figure."""
        self.readable_tables()
        specs = [spec for spec in self.specs if spec.name in self._inputs]
        judged = judge(specs, self.inputs, self.store)
        for name, text in write_statistics(specs, self.inputs, self.store, judged).items():
            write_text_if_changed(self.folder / name, text)
        write_comparisons(judged, self.folder)

    def write_page(self, deviations: Path) -> None:
        """``index.html`` from the tables, and from the figures and statistics that lie in the folder."""
        tables = [table for table in self.readable_tables() if table.columns]
        uses: dict[str, list[str]] = {}
        for table in tables:
            for row in table.rows:
                for key in row.runs:
                    uses.setdefault(key, []).append(f"{table.name}: {row.label}")
        cards, more = load_cards(self.store, uses) if self.store else ([], 0)
        shown = [table for name, table in self._tables.items() if is_picture(name)]
        made = {p.name: p.read_text(encoding="utf-8") for p in sorted(self.folder.glob("statistics_*"))}
        missing = [text for table in tables for text in (*table.problems, *table.missing)]
        page = Page(
            profile=self.profile,
            tables=tables,
            figures=sorted(p for p in self.folder.glob("figure_*.png") if is_figure(p.stem)),
            statistics=made,
            comparisons=self.folder / f"{COMPARISONS}.png",
            cards=cards,
            more_runs=more,
            clouds=pack(self.artefacts(shown or self._tables.values())),
            deviations=deviations.read_text(encoding="utf-8") if deviations.is_file() else "",
            problems=list(dict.fromkeys([*self.problems, *missing])),
            sources=sorted({inputs.data_source() for inputs in self._inputs.values() if inputs.found}),
        )
        write_text_if_changed(self.folder / "index.html", render(page))

    def readable_tables(self) -> list[Table]:
        """The tables of all sweeps whose inputs can be read."""
        tables = []
        for spec in self.specs:
            self.attempt(lambda spec=spec: tables.append(self.table(spec)))
        return tables

    def artefacts(self, tables: Iterable[Table]) -> list[Artefact]:
        """What the runs of these tables left to draw."""
        labels: dict[str, str] = {}
        for table in tables:
            for key, label in run_labels(table).items():
                labels.setdefault(key, label)
        if self.store is None:
            return []
        problems: list[str] = []
        found = find_artefacts(self.store, dict(list(labels.items())[:PICTURED]), problems, PICTURES)
        self.problems += [problem for problem in problems if problem not in self.problems]
        return found

    def tell(self) -> int:
        """Print what is wrong; returns the exit status."""
        for problem in self.problems[:SHOWN]:
            print(f"incomplete: {problem}", file=sys.stderr)
        if len(self.problems) > SHOWN:
            rest = len(self.problems) - SHOWN
            print(f"incomplete: {rest} more; the footnotes in {self.folder} name them", file=sys.stderr)
        return 1 if self.problems else 0


def make_table(spec: TableSpec, folder: Path, profile: str) -> Table:
    """The table of one sweep from ``folder/inputs``. Raises UserError as ``load_inputs``."""
    return build_table(spec, load_inputs(folder / "inputs", spec.name), profile)


def paper_only(sweeps: Path, name: str | None = None, write: Callable[[str], object] = sys.stdout.write) -> int:
    """Print, as Markdown, what the paper printed: every published cell of every sweep, with origin and source.

    Returns:
        0. Raises UserError when no sweep has that name.
    """
    for spec in select(load_specs(sweeps), name):
        if not spec.published:
            continue
        write(f"\n## {spec.name}: {spec.title}\n\n")
        header = ["cell", spec.heading, *spec.descriptions(), *spec.columns, "origin", "source"]
        write("| " + " | ".join(header) + " |\n" + "|" + " --- |" * len(header) + "\n")
        for entry in spec.published:
            described = [spec.describe.get(entry.row, {}).get(h, "") for h in spec.descriptions()]
            values = [_printed(entry.values.get(c), entry.delta.get(c)) for c in spec.columns]
            line = [entry.cell, spec.label(entry.row), *described, *values, entry.origin, entry.source]
            write("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |\n")
    return 0


def select(specs: Sequence[TableSpec], name: str | None) -> Sequence[TableSpec]:
    """All specs, or the one of that name or beginning. Raises UserError naming the choices."""
    if name is None:
        return specs
    exact = [spec for spec in specs if spec.name == name]
    found = exact or [spec for spec in specs if spec.name.startswith(name)]
    if len(found) != 1:
        known = ", ".join([*(spec.name for spec in (found or specs)), *EXTRAS])
        raise UserError(f"report {name!r}: {'several match' if found else 'no such report'}; choose one of {known}")
    return found


def _printed(value: float | None, delta: float | None) -> str:
    shown = "–" if value is None else f"{value:g}"
    return shown if delta is None else f"{shown} ({delta:+g})"
