"""What one training step of Point Transformer V3 costs on the CPU, and which share of it is what.

    python -m speed.point_transformer_v3 --points 40000 --repeats 3

A step is the plan (voxels, curves, neighbor tables, pools), forward, loss, backward and AdamW update of the full
network on a synthetic room, one thread. Seconds are of processor time, medians; shares are the profiler's, of the
operations by name, gradients included. Where spconv is installed (its CPU build), its submanifold convolution takes
turns with ours on the same voxels, tables made beforehand; forward alone, since spconv 2.3.8's backward asks for CUDA.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mm3d_backbones.point_transformer_v3 import PointTransformerV3
from mm3d_backbones.segmentor import Segmentor
from mm3d_core.points import PointBatch
from pointops.serialized import make_serialized_plan
from pointops.submanifold import submanifold_convolution, submanifold_neighbors
from speed.segmentation import VOXEL, room

SHARES = {
    "convolution": ("pointops::submanifold", "pointops::submanifold_weight"),
    "attention": (
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    ),
}
CHANNELS = (32, 64, 128, 256)  # of the convolutions that are compared


def measured(points: int, repeats: int, **sizes: Any) -> dict[str, float]:
    """Seconds of processor time of a step and of its plan, and the shares of a step, in percent.

    Args:
        sizes: of the network, where they are not the published ones.
    """
    random = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    coord = room(points, random)
    batch = PointBatch.single(coord, torch.rand(points, 6, generator=random))
    labels = {"segment": torch.randint(0, 13, (points,), generator=random)}
    model = Segmentor(PointTransformerV3(voxel=VOXEL, **sizes), 13).train()
    optimizer = torch.optim.AdamW(model.parameters(), 0.001)
    spec: Any = model.encoder.spec

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model.loss(batch, labels)["loss"].backward()
        optimizer.step()

    step()
    found = {
        "step": median(step, repeats),
        "plan": median(lambda: make_serialized_plan(coord, batch.offset, spec), repeats),
    }
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    times = {event.key: event.cpu_time_total for event in profiler.key_averages()}
    total = sum(event.self_cpu_time_total for event in profiler.key_averages())
    found |= {name: 100 * sum(times.get(key, 0) for key in keys) / total for name, keys in SHARES.items()}
    return found | {"voxels": float(make_serialized_plan(coord, batch.offset, spec).levels[0].num_points)}


def median(work: Callable[[], object], repeats: int) -> float:
    """Median processor seconds of some calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def convolutions(points: int, repeats: int) -> list[tuple[int, float, float]]:
    """(channels, our seconds, spconv's) of a convolution forward, taking turns."""
    import spconv.pytorch as spconv  # pyright: ignore[reportMissingImports]

    coord = room(points, torch.Generator().manual_seed(0))
    cells = ((coord - coord.amin(0)) / VOXEL).floor().long().unique(dim=0)
    table = submanifold_neighbors(cells, torch.tensor([len(cells)]))
    indices = torch.cat([torch.zeros_like(cells[:, :1]), cells], 1).int()
    shape = [int(extent) + 3 for extent in cells.amax(0)]
    found = []
    for channels in CHANNELS:
        feat, weight = torch.rand(len(cells), channels), torch.rand(27, channels, channels)
        layer = spconv.SubMConv3d(channels, channels, 3, bias=False, indice_key="a")
        with torch.no_grad():
            start = layer(spconv.SparseConvTensor(feat, indices, shape, 1))  # makes its table

            def ours(feat: Tensor = feat, weight: Tensor = weight) -> None:
                submanifold_convolution(feat, table, weight)

            def its(feat: Tensor = feat, layer: Any = layer, start: Any = start) -> None:
                layer(start.replace_feature(feat))

            pairs = [(median(ours, 1), median(its, 1)) for _ in range(repeats + 1)][1:]
        found.append((channels, *(statistics.median(column) for column in zip(*pairs, strict=True))))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, as Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m speed.point_transformer_v3", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--points", type=int, nargs="*", default=[40_000, 80_000], help="none: convolutions alone")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print("| points | voxels | step, s | plan, s | convolution, % | attention, % |\n|---|---|---|---|---|---|")
    for points in options.points:
        row = measured(points, options.repeats)
        print(
            f"| {points} | {row['voxels']:.0f} | {row['step']:.2f} | {row['plan']:.2f} | "
            f"{row['convolution']:.0f} | {row['attention']:.0f} |",
            flush=True,
        )
    if find_spec("spconv") is None:
        print("spconv is not installed: its convolution was not compared")
        return 0
    print("\n| channels | ours, ms | spconv, ms | ratio |\n|---|---|---|---|")
    for channels, ours, its in convolutions(40_000, options.repeats):
        print(f"| {channels} | {1e3 * ours:.0f} | {1e3 * its:.0f} | {its / ours:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
