"""``mm3d report``."""

from __future__ import annotations

import argparse

from mm3d_benchmarks.reports.build import build_report, paper_only


def report(options: argparse.Namespace) -> int:
    """Build one report or all."""
    if options.paper_only:
        return paper_only(options.sweeps, options.name)
    status = build_report(
        options.name, options.profile, options.results, options.sweeps, options.store, options.partial
    )
    return 0 if options.carry_on else status
