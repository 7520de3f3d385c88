"""``python -m speed.pointops --device cuda``: each Triton kernel against eager torch, and how far the memory limit is.

The limit is measured, not quoted: the rate of a large copy on the same device. Bytes are those that must move at least
once: every input read, every output written.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from pointops import _dispatch, farthest_point_sampling, knn_query
from pointops.knn import knn_query_reference
from pointops.sampling import farthest_point_sampling_reference
from speed.pointops import features
from speed.pointops.clouds import room

ROUNDS = 20
COPIED = 1 << 28  # float32 values: 1 GiB


@dataclass(frozen=True)
class Line:
    """One line of the table: milliseconds of ours and of the peer, and the least bytes that must move."""

    case: str
    ours: float
    peer: float
    moved: int


def main() -> int:
    """Print the table, or say in one line why not."""
    if not torch.cuda.is_available():
        print("No CUDA device here: python -m speed.pointops --device cuda needs one.", file=sys.stderr)
        return 2
    if not _dispatch.has_triton():
        print("Triton is not installed: there are no GPU kernels to measure.", file=sys.stderr)
        return 2
    import triton

    rate = copy_rate()
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}, "
        f"Python {platform.python_version()}; copies run at {rate / 1e12:.2f} TB/s\n"
    )
    print("| case | ours | eager torch | ratio | bytes at least | share of the copy rate |\n|---|---|---|---|---|---|")
    for line in lines():
        share = line.moved / (line.ours / 1e3) / rate
        print(
            f"| {line.case} | {line.ours:.3f} ms | {line.peer:.3f} ms | {line.peer / line.ours:.2f}x "
            f"| {line.moved / 1e6:.1f} MB | {share:.0%} |",
            flush=True,
        )
    return 0


def lines() -> Iterator[Line]:
    """Every case, forward and both ways where there is a gradient."""
    for points, neighbors, channels in features.LEVELS:
        given = features.feature_inputs(points, neighbors, channels, "cuda")
        for name, (ours, eager, arguments) in features.pairs_of_calls(given).items():
            case = f"{name}, {points} x {neighbors}, C={channels}"
            out = ours(*arguments)
            grad = torch.ones_like(out)
            moved = size_of(out, *arguments)
            yield Line(case, *_both(_silent(ours, arguments), _silent(eager, arguments)), moved)
            wanted = [value for value in arguments if value.requires_grad]
            again = moved + size_of(grad, *arguments, *wanted)
            first, second = (features.both_ways(run, arguments, grad) for run in (ours, eager))
            yield Line(f"{case}, both ways", *_both(first, second), again)
    yield from _searches()


def _searches() -> Iterator[Line]:
    for points, k in ((1_024, 3), (10_000, 1), (10_000, 16)):
        xyz, offset = torch.from_numpy(room(points, 0)).cuda(), torch.tensor([points])
        ours = lambda x=xyz, o=offset, k=k: knn_query(k, x, o)  # noqa: E731
        peer = lambda x=xyz, o=offset, k=k: knn_query_reference(k, x, o)  # noqa: E731
        yield Line(f"kNN self {points}, k={k}", *_both(ours, peer), size_of(xyz, *ours()))
    for points, count in ((1_024, 256), (2_048, 1_024), (8_192, 2_048)):
        xyz = torch.from_numpy(room(points, 0)).cuda()
        ends = (torch.tensor([points]), torch.tensor([count]))
        ours = lambda x=xyz, e=ends: farthest_point_sampling(x, *e)  # noqa: E731
        peer = lambda x=xyz, e=ends: farthest_point_sampling_reference(x, *e)  # noqa: E731
        yield Line(f"FPS {points} -> {count}", *_both(ours, peer, 3), size_of(xyz, ours()))


def copy_rate() -> float:
    """Bytes per second of a large copy, read and written."""
    source = torch.empty(COPIED, device="cuda")
    target = torch.empty_like(source)
    return 2 * 4 * COPIED / (_time(lambda: target.copy_(source)) / 1e3)


def size_of(*tensors: Tensor) -> int:
    """Bytes of all of them."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _silent(run: Callable[..., Tensor], arguments: list[Tensor]) -> Callable[[], Any]:
    return lambda: torch.no_grad()(run)(*arguments)


def _both(ours: Callable[[], Any], peer: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, float]:
    return _time(ours, rounds), _time(peer, rounds)


def _time(run: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Median milliseconds by CUDA events, after runs that compile and warm up."""
    for _ in range(3):
        run()
    times = []
    for _ in range(rounds):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return median(times)
