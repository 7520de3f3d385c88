"""What `mm3d report` does: tables, figures, statistics and the page, from the collected inputs and the run store.

Exit status: 0 when everything asked for is complete; 1 when a cell is missing, failed, NaN or contradictory, or an
input is unreadable. The rest is built all the same. With ``partial``, cells that are merely not there yet are accepted.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from mm3d_benchmarks.reports.inputs import load_inputs
from mm3d_benchmarks.reports.latex import all_tables, to_latex
from mm3d_benchmarks.reports.sweepfile import TableSpec, load_specs
from mm3d_benchmarks.reports.tables import Table, build_table
from mm3d_benchmarks.reports.text import to_csv, to_markdown
from mm3d_core.atomic import write_text_if_changed
from mm3d_core.errors import UserError

SHOWN = 12  # problems printed before the rest is only counted


def build_report(
    name: str | None, profile: str, results: Path, sweeps: Path, store: Path | None = None, partial: bool = False
) -> int:
    """Build one report, or all of them, into ``results/<profile>/``.

    Args:
        name: a sweep's name (``table_07_framework_ablation``) or a unique beginning of one (``table_07``); None for
            everything.
        results: the folder that holds ``<profile>/inputs/``.
        sweeps: the folder of the sweep files.
        store: the run store, for figures made from artefacts, scene-wise statistics and run cards; None: without.
        partial: missing cells are shown but do not count as a failure.

    Returns:
        The exit status.

    Raises:
        UserError: no sweep of that name.
    """
    folder = results / profile
    specs = load_specs(sweeps)
    wanted = _select(specs, name)
    problems: list[str] = []
    for spec in wanted:
        _attempt(problems, lambda spec=spec: _write_table(spec, folder, profile, partial, problems))
    if wanted:
        present = [spec.name for spec in specs if (folder / f"{spec.name}.tex").exists()]
        write_text_if_changed(folder / "all_tables.tex", all_tables(present))
    return _tell(problems, folder)


def make_table(spec: TableSpec, folder: Path, profile: str) -> Table:
    """The table of one sweep from ``folder/inputs``. Raises UserError as ``load_inputs``."""
    return build_table(spec, load_inputs(folder / "inputs", spec.name), profile)


def paper_only(sweeps: Path, name: str | None = None, write: Callable[[str], object] = sys.stdout.write) -> int:
    """Print, as Markdown, what the paper printed: every published cell of every sweep, with origin and source.

    Returns:
        0. Raises UserError when no sweep has that name.
    """
    for spec in _select(load_specs(sweeps), name):
        write(f"\n## {spec.name}: {spec.title}\n\n")
        header = ["cell", spec.heading, *spec.descriptions(), *spec.columns, "origin", "source"]
        write("| " + " | ".join(header) + " |\n" + "|" + " --- |" * len(header) + "\n")
        for entry in spec.published:
            described = [spec.describe.get(entry.row, {}).get(h, "") for h in spec.descriptions()]
            values = [_printed(entry.values.get(c), entry.delta.get(c)) for c in spec.columns]
            line = [entry.cell, spec.label(entry.row), *described, *values, entry.origin, entry.source]
            write("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |\n")
    return 0


def _printed(value: float | None, delta: float | None) -> str:
    shown = "–" if value is None else f"{value:g}"
    return shown if delta is None else f"{shown} ({delta:+g})"


def _write_table(spec: TableSpec, folder: Path, profile: str, partial: bool, problems: list[str]) -> None:
    table = make_table(spec, folder, profile)
    for ending, text in (("csv", to_csv(table)), ("md", to_markdown(table)), ("tex", to_latex(table))):
        write_text_if_changed(folder / f"{spec.name}.{ending}", text)
    problems += table.problems if partial else [*table.problems, *table.missing]


def _select(specs: list[TableSpec], name: str | None) -> list[TableSpec]:
    if name is None:
        return specs
    exact = [spec for spec in specs if spec.name == name]
    found = exact or [spec for spec in specs if spec.name.startswith(name)]
    if len(found) != 1:
        known = ", ".join(spec.name for spec in (found or specs))
        raise UserError(f"report {name!r}: {'several match' if found else 'no such sweep'}; choose one of {known}")
    return found


def _attempt(problems: list[str], step: Callable[[], object]) -> None:
    """Run one step; a user's error is noted and the next step goes on."""
    try:
        step()
    except UserError as error:
        problems.append(str(error))


def _tell(problems: list[str], folder: Path) -> int:
    for problem in problems[:SHOWN]:
        print(f"incomplete: {problem}", file=sys.stderr)
    if len(problems) > SHOWN:
        print(f"incomplete: {len(problems) - SHOWN} more; see the footnotes in {folder}", file=sys.stderr)
    return 1 if problems else 0
