"""One half of profile study, from nothing to its tables: ``python tools/study.py segmentation table_05 controls``.

Scenes are generated and prepared, the sweeps' cells of one task are run, and their tables built. Each step keeps what
is there already, so the same command continues after any stop.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

DATASETS = {"segmentation": ("s3dis", "scannet"), "detection": ("s3dis", "scannet", "sunrgbd")}
# Figures of pre-trainings alone, which have no task: they would be no cell of either half.
PICTURES = {"segmentation": ("figure_02", "figure_07", "figure_08"), "detection": ()}


def commands(task: str, sweeps: list[str], jobs: int, profile: str = "study") -> list[list[str]]:
    """The command lines of one half, in order."""
    own = ["--profile", profile]
    made = []
    for name in DATASETS[task]:
        made.append(["mm3d", "generate", "--dataset", name, *own])
        if not Path(f"data/{profile}/prepared/{name}/manifest.json").exists():
            made.append(["mm3d", "prepare", f"dataset={name}", *own])
    made.append(["mm3d", "sweep", *sweeps, "--where", f"task={task}", "--max-parallel", str(jobs), "--partial", *own])
    if PICTURES[task]:
        made.append(["mm3d", "sweep", *PICTURES[task], "--max-parallel", str(jobs), "--partial", *own])
    made.append(["mm3d", "report", "--partial", *own])
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the commands one after the other; the first that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("task", choices=tuple(DATASETS))
    parser.add_argument("sweeps", nargs="+")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    for command in commands(options.task, options.sweeps, options.jobs):
        print("+", " ".join(command), file=sys.stderr, flush=True)
        status = subprocess.run(command, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
