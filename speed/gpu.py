"""What a GPU does with this suite, as a page: ``make gpu`` tests first, then calls ``python -m speed.gpu``.

    python -m speed.gpu --out gpu_report.md

For every backbone, pre-training and fine-tuning, at the paper's sizes: a micro-batch as large as the device's memory
allows by the estimate, seconds a step, points a second, the peak of memory beside the estimate; then each kernel
against eager torch. Loading is left out. Without a GPU it measures nothing and says so.
"""

from __future__ import annotations

import argparse
import io
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mm3d_benchmarks.planning.compose import available, compose
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.runs import finetune, memory, pretrain
from mm3d_benchmarks.runs.training import Training
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_text
from mm3d_core.observing.efficiency import device_name
from mm3d_core.seeding import generator
from mm3d_core.training.fit import DTYPES
from speed.pointops import gpu as kernels

KINDS = {"pretrain": pretrain, "finetune": finetune}
NETWORKS = (
    ("point_transformer", "s3dis"),
    ("stratified_transformer", "s3dis"),
    ("votenet", "scannet"),
    ("h3dnet", "scannet"),
)  # fmt: skip
WARM_UP, STEPS = 2, 5
USED = 0.9  # of the device's memory, at most


@dataclass(frozen=True)
class Line:
    """One row of the table; ``estimate`` and ``peak`` in bytes, ``seconds`` the median of a step."""

    backbone: str
    kind: str
    scenes: int
    points: int
    seconds: float
    peak: int
    estimate: float

    def row(self) -> str:
        """Markdown."""
        rate = self.scenes * self.points / self.seconds
        return (
            f"| {self.backbone} | {self.kind} | {self.scenes} x {self.points:,} | {self.seconds * 1e3:.0f} ms | "
            f"{rate:,.0f} | {self.peak / 1e9:.2f} GB | {self.estimate / 1e9:.2f} GB |"
        )


def lines(device: torch.device, capacity: float, profile: str = "paper", networks: Any = NETWORKS) -> Iterator[Line]:
    """Measure every network; ``capacity`` in bytes bounds the micro-batches."""
    for backbone, dataset in networks:
        for kind in KINDS:
            yield measure(configuration(backbone, dataset, kind, profile), kind, device, capacity)


def configuration(backbone: str, dataset: str, kind: str, profile: str) -> dict[str, Any]:
    """The suite's recipe of a backbone on a data set."""
    own = f"{backbone}_{dataset}"
    if own not in available("recipe"):
        raise UserError(f"recipe={own}: there is none; measure a backbone on a data set that it has a recipe for")
    task = "segmentation" if dataset == "s3dis" else "detection"
    choices = {"backbone": backbone, "dataset": dataset, "recipe": own, "evaluation": task, "profile": profile}
    return compose(Request(choices, {"kind": kind}))


def measure(config: Mapping[str, Any], kind: str, device: torch.device, capacity: float) -> Line:
    """Steps of one micro-batch of artificial rooms of the recipe's size."""
    guess = memory.estimate(config)
    shares = guess.accumulation_for(USED * capacity / memory.GIGABYTE) or guess.scenes
    scenes = guess.scenes // shares
    with tempfile.TemporaryDirectory() as temporary:
        small = memory.small_config(config, kind, scenes, guess.points, Path(temporary))
        small["machine"] |= {"device": device.type}
        training: Training = KINDS[kind].training_of(small)
        batch = next(iter(training.loader().stream(0, 1))).to(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    optimizer = training.recipe.build_optimizer(training.module)
    seconds = [_step(training, optimizer, batch, device) for _ in range(WARM_UP + STEPS)][WARM_UP:]
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    name = str(config["backbone"]["name"])
    return Line(name, kind, scenes, guess.points, statistics.median(seconds), peak, guess.of(scenes))


def _step(training: Training, optimizer: torch.optim.Optimizer, batch: Any, device: torch.device) -> float:
    module: Any = training.module
    module.train()
    dtype = DTYPES[training.recipe.precision]
    start = time.perf_counter()
    with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        loss = training.objective(module, batch, generator("speed"))["loss"]
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def machine(device: torch.device) -> list[str]:
    """What was measured on: device, driver, versions."""
    found = [f"* device: {device_name(device)}", f"* Python {platform.python_version()}, torch {torch.__version__}"]
    if device.type != "cuda":
        return found
    facts = torch.cuda.get_device_properties(device)
    found.append(
        f"* {torch.cuda.device_count()} device(s), {facts.total_memory / 1e9:.0f} GB, sm_{facts.major}{facts.minor}"
    )
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        driver = "unknown"
    try:
        import triton

        version = triton.__version__
    except ImportError:
        version = "not installed"
    return [*found, f"* driver {driver}, CUDA {torch.version.cuda}, triton {version}"]


def report(device: torch.device, found: Sequence[Line], kernel_table: str, tests: str = "") -> str:
    """The page, as Markdown."""
    parts = ["# What this GPU does with mm3dscene", "", *machine(device), ""]
    parts += ["## Tests", "", tests, ""] if tests else []
    parts += [
        "## Training steps at the paper's sizes",
        "",
        "One micro-batch of artificial rooms, without loading; medians of "
        f"{STEPS} steps after {WARM_UP}. The estimate is that of `mm3d info --memory`.",
        "",
        "| backbone | kind | scenes x points | step | points a second | peak memory | estimated |",
        "|---|---|---|---|---|---|---|",
        *(line.row() for line in found),
        "",
        "## Kernels",
        "",
        kernel_table.strip(),
        "",
    ]
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(prog="python -m speed.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu_report.md"), help="page to write (default: %(default)s)")
    parser.add_argument("--tests", type=Path, help="file whose last line says how the tests went")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("No CUDA device here: python -m speed.gpu needs one; see mm3d doctor.", file=sys.stderr)
        return 2
    device = torch.device("cuda", 0)
    tests = options.tests.read_text(encoding="utf-8").strip().splitlines()[-1:] if options.tests else []
    found = []
    try:
        for line in lines(device, torch.cuda.get_device_properties(device).total_memory):
            print(line.row(), flush=True)
            found.append(line)
    except UserError as error:
        print(f"speed.gpu: {error}", file=sys.stderr)
        return 1
    with redirect_stdout(io.StringIO()) as table:
        kernels.main()
    write_text(options.out, report(device, found, table.getvalue(), *tests))
    print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
