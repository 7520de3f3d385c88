"""What `mm3d report` does: tables, figures, statistics and the page, from the collected inputs and the run store.

Exit status: 0 when everything asked for is complete; 1 when a cell is missing, failed, NaN or contradictory, or an
input is unreadable. The rest is built all the same. With ``partial``, what is merely not there yet is accepted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mm3d_benchmarks.planning.sweepfile import Sweep, close_to, load_sweeps, sweeps_folder
from mm3d_benchmarks.planning.table_spec import TableSpec
from mm3d_benchmarks.reports.artefacts import Artefact, find_artefacts
from mm3d_benchmarks.reports.chance import chance_levels
from mm3d_benchmarks.reports.figures import COMPARISONS, run_labels, write_comparisons, write_figure
from mm3d_benchmarks.reports.headline import write_headlines
from mm3d_benchmarks.reports.latex import all_tables, to_latex
from mm3d_benchmarks.reports.page.again import words_of_runs
from mm3d_benchmarks.reports.page.cards import load_cards
from mm3d_benchmarks.reports.page.clouds import pack
from mm3d_benchmarks.reports.page.site import Page, render
from mm3d_benchmarks.reports.scores import readable_store
from mm3d_benchmarks.reports.tables import Table, build_table
from mm3d_benchmarks.reports.text import to_csv, to_markdown, to_plain
from mm3d_benchmarks.reports.verdicts.comparisons import judge, write_statistics
from mm3d_benchmarks.reports.verdicts.resolution import blind, resolutions, sentence
from mm3d_benchmarks.results.collect import SCENE_SCORES
from mm3d_benchmarks.results.inputs import Inputs, Places, load_inputs
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_text_if_changed

SHOWN = 12  # problems printed before the rest is only counted
PICTURED = 300  # runs whose folders are searched for pictures
PICTURES = 48  # pictures held at once
EXTRAS = ("statistics", "page")


def build_report(
    name: str | None,
    profile: str,
    results: Path,
    sweeps: Path | None = None,
    store: Path | None = None,
    partial: bool = False,
) -> int:
    """Build one report, or all of them, into ``results/<profile>/``.

    Args:
        name: a sweep's name (``table_07_framework_ablation``) or a unique beginning of one (``table_07``);
            ``statistics``; ``page``; None for everything.
        results: the folder that holds ``<profile>/inputs/``.
        sweeps: the folder of the sweep files; None: ``./sweeps``, or the paper's in the installed package.
        store: the run store, for figures made from artefacts, scene-wise statistics and run cards; None: without.
        partial: missing cells are shown but do not count as a failure.

    Returns:
        The exit status.

    Raises:
        UserError: no report of that name.
    """
    found = sorted((sweep for sweep in load_sweeps(sweeps) if sweep.table is not None), key=reading_order)
    report = Report(results / profile, profile, found, store, partial)
    for sweep in [] if name in EXTRAS else select(found, name):
        report.attempt(lambda sweep=sweep: report.write_table(sweep))
        report.attempt(lambda sweep=sweep: report.write_figure(sweep))
    if name in (None, "statistics"):
        report.attempt(report.write_statistics)
    if name in (None, "page"):
        report.attempt(lambda: report.write_page((sweeps or sweeps_folder()).parent / "docs" / "deviations.md"))
    if name is None:
        present = [s.name for s in found if (report.folder / f"{s.name}.tex").exists()]
        write_text_if_changed(report.folder / "all_tables.tex", all_tables(present))
        write_headlines(report.readable_tables(), report.labels_curve(), results.parent / "metrics", profile)
    return report.tell()


def reading_order(sweep: Sweep) -> tuple[int, str]:
    """Sort key: the paper's tables, then tables of ours, then what figures draw."""
    return 2 if sweep.figure else (0 if sweep.name.startswith("table_") else 1), sweep.name


@dataclass
class Report:
    """One build: where it goes, what it is made from, and what turned out to be wrong."""

    folder: Path
    profile: str
    sweeps: Sequence[Sweep]
    store: Path | None
    partial: bool
    problems: list[str] = field(default_factory=list)
    wrote: list[str] = field(default_factory=list)
    shown: list[Table] = field(default_factory=list)
    _inputs: dict[str, Inputs] = field(default_factory=dict)
    _tables: dict[str, Table] = field(default_factory=dict)

    @property
    def scenes(self) -> Path | None:
        """Where the scores of single scenes lie: beside the results, so that who pulls those sees the same intervals.

        Results that were collected before they were kept have them in the store alone.
        """
        kept = self.folder / "runs" / "evaluate" / SCENE_SCORES
        return kept if kept.is_dir() else self.store

    def attempt(self, step: Callable[[], object]) -> None:
        """Run one step; a user's error is noted, once, and the next step goes on."""
        try:
            step()
        except UserError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))

    def table(self, sweep: Sweep) -> Table:
        """The table of one sweep, made once. Raises UserError as ``load_inputs``."""
        if sweep.name not in self._tables:
            spec, inputs = spec_of(sweep), self.inputs(sweep.name)
            scenes = readable_store([inputs], self.scenes)
            table = build_table(spec, inputs, self.profile, chance_levels(spec, inputs, scenes))
            resolved = (*sentence(resolutions(spec, inputs, scenes)), *blind(spec, inputs))
            self._tables[sweep.name] = replace(table, remarks=(*table.remarks, *resolved))
        return self._tables[sweep.name]

    def inputs(self, name: str) -> Inputs:
        """What was collected for one sweep, read once. Raises UserError as ``load_inputs``."""
        if name not in self._inputs:
            self._inputs[name] = load_inputs(self.folder / "inputs", name)
        return self._inputs[name]

    def write_table(self, sweep: Sweep) -> None:
        """CSV, Markdown and LaTeX; a sweep without columns has runs to draw but nothing to tabulate."""
        if not sweep.columns:
            return
        table = self.table(sweep)
        for ending, text in (("csv", to_csv(table)), ("md", to_markdown(table)), ("tex", to_latex(table))):
            write_text_if_changed(self.folder / f"{sweep.name}.{ending}", text)
        self.wrote.append(f"{sweep.name}.{{csv,md,tex}}")
        self.shown.append(table)
        self.problems += table.problems if self.partial else [*table.problems, *table.missing]

    def write_figure(self, sweep: Sweep) -> None:
        """PDF and PNG of a sweep that says what to draw."""
        figure = sweep.figure
        if figure is None or (figure.is_picture and self.store is None):
            return
        table = self.table(sweep)
        artefacts = self.artefacts([table]) if figure.is_picture else []
        places = self.inputs(sweep.name).places()
        drawn = write_figure(figure, table, places, artefacts, self.folder)
        self.wrote += [f"{sweep.name}.{{pdf,png}}"] if drawn else []
        if not drawn and not self.partial:
            self.problems.append(
                f"{sweep.name}: nothing to draw yet; "
                + ("its runs left no pictures" if figure.is_picture else f"no row has a number for {figure.label}")
            )

    def labels_curve(self) -> tuple[Table, Places] | None:
        """The table that is drawn over the share of labeled scenes, if its inputs can be read."""
        for sweep in self.sweeps:
            if sweep.figure and sweep.figure.x == ("protocol.scenes",) and sweep.name in self._tables:
                return self._tables[sweep.name], self.inputs(sweep.name).places()
        return None

    def write_statistics(self) -> None:
        """Differences, verdicts, resolution and spread over all tables whose inputs can be read, and their figure."""
        self.readable_tables()
        specs = [spec_of(sweep) for sweep in self.sweeps if sweep.name in self._inputs]

        def load(spec: TableSpec) -> Inputs:
            return self.inputs(spec.name)

        judged = judge(specs, load, self.scenes)
        for name, text in write_statistics(specs, load, self.scenes, judged).items():
            write_text_if_changed(self.folder / name, text)
        write_comparisons(judged, self.folder)
        self.wrote += ["statistics_*.{csv,md}", f"{COMPARISONS}.{{pdf,png}}"]

    def write_page(self, deviations: Path) -> None:
        """``index.html`` from the tables, and from the figures and statistics that lie in the folder."""
        tables = [table for table in self.readable_tables() if table.columns]
        uses: dict[str, list[str]] = {}
        for table in tables:
            for row in table.rows:
                for key in row.runs:
                    uses.setdefault(key, []).append(table.in_words(row))
        cards, more = load_cards(self.store, uses, self.words()) if self.store else ([], 0)
        drawn = [sweep for sweep in self.sweeps if sweep.figure]
        shown = [self._tables[s.name] for s in drawn if s.figure and s.figure.is_picture and s.name in self._tables]
        figures = {self.folder / f"{s.name}.png": s.figure.title or spec_of(s).title for s in drawn if s.figure}
        made = {p.name: p.read_text(encoding="utf-8") for p in sorted(self.folder.glob("statistics_*"))}
        missing = [text for table in tables for text in (*table.problems, *table.missing)]
        page = Page(
            profile=self.profile,
            tables=tables,
            figures={path: title for path, title in figures.items() if path.is_file()},
            statistics=made,
            comparisons=self.folder / f"{COMPARISONS}.png",
            cards=cards,
            more_runs=more,
            clouds=pack(self.artefacts(shown or self._tables.values())),
            deviations=deviations.read_text(encoding="utf-8") if deviations.is_file() else "",
            problems=list(dict.fromkeys([*self.problems, *missing])),
            sources=sorted({inputs.data_source() for inputs in self._inputs.values() if inputs.found}),
            files={path.name for path in self.folder.iterdir()},
        )
        write_text_if_changed(self.folder / "index.html", render(page))
        self.wrote.append("index.html")

    def words(self) -> dict[str, str]:
        """Key of each row's last run to the words that ask for it by hand."""
        found: dict[str, str] = {}
        for sweep in self.sweeps:
            if sweep.name in self._inputs:
                found = words_of_runs(sweep, self._inputs[sweep.name], self.profile) | found
        return found

    def readable_tables(self) -> list[Table]:
        """The tables of all sweeps whose inputs can be read."""
        tables = []
        for sweep in self.sweeps:
            self.attempt(lambda sweep=sweep: tables.append(self.table(sweep)))
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
        """Print what was written, the table where there is just one, and what is wrong; returns the exit status."""
        if len(self.shown) == 1:
            print(to_plain(self.shown[0]))
        if len(self.wrote) > SHOWN:
            kinds = (("csv,md,tex", "tables"), ("pdf,png", "figures"))
            told = [f"{sum(end in name for name in self.wrote)} {kind}" for end, kind in kinds]
            print(f"{self.folder}: {', '.join(told)}, statistics; open {self.folder / 'index.html'}")
        else:
            print("\n".join(f"{self.folder / name}" for name in self.wrote))
        for problem in self.problems[:SHOWN]:
            print(f"incomplete: {problem}", file=sys.stderr)
        if len(self.problems) > SHOWN:
            rest = len(self.problems) - SHOWN
            print(f"incomplete: {rest} more; the footnotes in {self.folder} name them", file=sys.stderr)
        return 1 if self.problems else 0


def spec_of(sweep: Sweep) -> TableSpec:
    """The table of a sweep that has one."""
    assert sweep.table is not None
    return sweep.table


def paper_only(sweeps: Path | None, name: str | None = None, write: Callable[[str], object] = sys.stdout.write) -> int:
    """Print, as Markdown, what the paper printed: every published cell of every sweep, with origin and source.

    Returns:
        0. Raises UserError when no sweep has that name.
    """
    for spec in map(spec_of, select([sweep for sweep in load_sweeps(sweeps) if sweep.table is not None], name)):
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


def select(sweeps: Sequence[Sweep], name: str | None) -> Sequence[Sweep]:
    """All sweeps, or the one of that name or beginning. Raises UserError naming the choices."""
    if name is None:
        return sweeps
    exact = [sweep for sweep in sweeps if sweep.name == name]
    found = exact or [sweep for sweep in sweeps if sweep.name.startswith(name)]
    if len(found) != 1:
        known = ", ".join([*(sweep.name for sweep in (found or sweeps)), *EXTRAS])
        wrong = "several match" if found else f"no such report{close_to(name, [sweep.name for sweep in sweeps])}"
        raise UserError(f"report {name!r}: {wrong}; choose one of {known}")
    return found


def _printed(value: float | None, delta: float | None) -> str:
    shown = "–" if value is None else f"{value:g}"
    return shown if delta is None else f"{shown} ({delta:+g})"
