"""``mm3d report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mm3d_benchmarks.reports.build import build_report, paper_only


def report(options: argparse.Namespace) -> int:
    """Build one report or all."""
    name, sweeps = _chosen(options.name, options.sweeps)
    if options.paper_only:
        return paper_only(sweeps, name)
    status = build_report(name, options.profile, options.results, sweeps, options.store, options.partial)
    return 0 if options.carry_on else status


def _chosen(name: str | None, sweeps: Path | None) -> tuple[str | None, Path | None]:
    """The report's name and its folder; a sweep's file, as the other commands take it, says both."""
    path = Path(name or "")
    if path.suffix in (".yaml", ".yml") and sweeps is None and path.is_file():
        return path.stem, path.parent
    return name, sweeps
