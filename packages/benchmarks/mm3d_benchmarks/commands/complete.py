"""``mm3d complete``: the pipeline's last stage, which fails where a table has a hole or a run has no result."""

from __future__ import annotations

import argparse
import sys

from mm3d_benchmarks.planning.sweepfile import load_sweeps
from mm3d_benchmarks.reports.tables import build_table
from mm3d_benchmarks.results.failures import forget_failures, read_failures
from mm3d_benchmarks.results.inputs import load_inputs
from mm3d_core.errors import UserError

SHOWN = 20  # lines of each kind


def complete(options: argparse.Namespace) -> int:
    """Name what is missing; the stages that recorded failures then count as undone, so that `dvc repro` tries again."""
    results = options.results / options.profile
    failures = read_failures(results)
    holes: list[str] = []
    for spec in (sweep.table for sweep in load_sweeps(options.sweeps)):
        if spec is None or not (results / "inputs" / f"{spec.name}.csv").is_file():
            continue
        try:
            table = build_table(spec, load_inputs(results / "inputs", spec.name), options.profile)
            holes += [*table.problems, *table.missing]
        except UserError as error:
            holes.append(str(error))
    lines = [
        f"{failure.state}: run {key} (for {', '.join(failure.cells[:3]) or 'nothing'}): {failure.reason}"
        for key, failure in failures.items()
        if failure.state == "failed"
    ]
    for group in (lines, holes):
        print("\n".join(group[:SHOWN]), file=sys.stderr) if group else None
        if len(group) > SHOWN:
            print(f"and {len(group) - SHOWN} more", file=sys.stderr)
    if not failures and not holes:
        print(f"{results}: complete")
        return 0
    forget_failures(results)
    print(
        f"{results}: {len(failures)} runs have no result, {len(holes)} cells have no value; all else is built. The "
        "same command tries them again; `mm3d sweep --again` also those that failed too often",
        file=sys.stderr,
    )
    return 1
