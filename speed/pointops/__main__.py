"""``python -m speed.pointops``: every bar as one line of a Markdown table."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main() -> int:
    """Run the cases; the status is 1 if a measured bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m speed.pointops", description=__doc__)
    parser.add_argument(
        "--threads", type=int, default=1, help="of every contestant (1: CPU time is measured, else wall)"
    )
    parser.add_argument("--only", default="", help="run cases whose name contains this: knn, ball, chamfer, ...")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: the Triton kernels instead")
    options = parser.parse_args()
    if options.device == "cuda":
        from speed.pointops import gpu

        return gpu.main()
    _same_threads(options.threads)

    import torch

    import pointops
    from speed.pointops import cases, features, peers

    torch.set_num_threads(options.threads)
    present = peers.installed()
    print(
        f"pointops {pointops.backend()}, torch {torch.__version__}, Python {platform.python_version()}, {_processor()}"
    )
    print(f"Threads: {options.threads}. Peers: {peers.versions(list(peers.DISTRIBUTIONS))}.\n")
    print("| case | ours | peer | ratio | bar | holds? |\n|---|---|---|---|---|---|", flush=True)
    failed = 0
    for group in (*cases.CASES, *features.CASES):
        if options.only not in group.__name__:
            continue
        for row in group(present):
            ratio = "-" if row.ratio is None else f"{row.ratio:.3g}" + ("" if row.at_most else "x")
            bar = "-" if not row.bar else f"at most {row.bar:g}" if row.at_most else f"{row.bar:g}x"
            holds = row.holds if row.bar else "(no bar)"
            failed += holds == "no"
            print(f"| {row.case} | {row.ours} | {row.peer} | {ratio} | {bar} | {holds} |", flush=True)
    if not options.only:
        print(f"\nMemory setting: {cases.memory_effect()}.")
    return int(failed > 0)


def _same_threads(count: int) -> None:
    """Start again with the thread variables set: libraries read them when they are loaded."""
    if any(os.environ.get(name) != str(count) for name in THREAD_VARIABLES):
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(count))}
        os.execve(sys.executable, [sys.executable, "-m", "speed.pointops", *sys.argv[1:]], environment)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
