"""A report over a store of 10,000 runs stays below 500 MB.

python -m pytest -m slow -s tests/benchmarks/reports/test_scale.py     # prints how long it takes
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.reports.synthetic import SYNTHETIC, write_inputs, write_sweep

TABLES, ROWS, SEEDS = 20, 167, 3  # 10,020 runs
BYTES = 500 * 10**6

SCRIPT = """
import json, resource, sys, time
from pathlib import Path
start = time.perf_counter()
from mm3d_benchmarks.reports.build import build_report
root = Path(sys.argv[1])
status = build_report(None, "smoke", root / "results", root / "sweeps", root / "runs")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
seconds, wall = time.process_time(), time.perf_counter() - start
print(json.dumps({"status": status, "seconds": seconds, "wall": wall, "bytes": peak}))
"""


def write_store(root: Path) -> None:
    """Runs with every file that a report may read."""
    log = "".join(json.dumps({"step": s, "loss": 1.0 / (s + 1), "loss_rec": 0.5}) + "\n" for s in range(0, 2000, 20))
    scenes = json.dumps({f"scene{i:04d}": {"mIoU": float(i), "mAcc": float(i)} for i in range(60)})
    for table in range(TABLES):
        rows = [f"row {r}" for r in range(ROWS)]
        published = [
            {"cell": f"T{table}-{r}", "row": row, "mIoU": 50 + r / 10, "mAcc": 60.0, "source": "paper"}
            for r, row in enumerate(rows[:12])
        ]
        text = {
            "title": f"Table {table}",
            "columns": ["mIoU", "mAcc"],
            "baseline": "row 0",
            "axis": "pretrain",
            "published": published,
        }
        name = f"table_{table:02d}_synthetic"
        write_sweep(root / "sweeps", name, {"runs": {"each": [{"row": row} for row in rows]}, "table": text})
        lines = []
        for r, row in enumerate(rows):
            for seed in range(SEEDS):
                key = f"{(table * ROWS + r) * SEEDS + seed:012x}"
                lines += [(row, c, seed, f"{40 + r % 17 + seed:.6f}", "done", key) for c in ("mIoU", "mAcc")]
                folder = root / "runs" / key
                folder.mkdir(parents=True)
                (folder / "spec.json").write_text('{"kind": "evaluate", "config": {}, "upstream": {}}')
                (folder / "metrics.json").write_text('{"metrics": {"mIoU": 40.0, "mAcc": 50.0}}')
                (folder / "config.yaml").write_text("seed: 0\n" * 60)
                (folder / "log.jsonl").write_text(log)
                (folder / "scenes.json").write_text(scenes)
        write_inputs(root / "results", name, lines, SYNTHETIC)


@pytest.mark.slow
def test_a_report_over_ten_thousand_runs_is_quick_and_small(tmp_path):
    write_store(tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    took = f"{figures['seconds']:.1f} s of one core ({figures['wall']:.1f} s by the clock)"
    print(f"\n{TABLES * ROWS * SEEDS} runs: {took}, {figures['bytes'] / 1e6:.0f} MB")
    assert figures["status"] == 0, done.stderr
    assert figures["bytes"] < BYTES
    assert (tmp_path / "results" / "smoke" / "index.html").stat().st_size < 25 * 2**20
