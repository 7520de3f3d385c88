"""Compiling kernels for a GPU that is not here: registers and spills of every kernel, as ptxas reports them.

python -m speed.pointops.compiled          # a table for sm_80 and sm_90
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from pointops.triton import aggregate, features, norm, pruned, sampling, search, window

ARCHITECTURES = (80, 90)  # A100; H100 and H200


@dataclass(frozen=True)
class Case:
    """One kernel as it is launched at a model's size.

    Attributes:
        kernel: the decorated function.
        pointers: element types of the arguments that are pointers, by name.
        constants: the compile-time arguments.
        warps: of a program.
        fused: whether multiply and add may be fused (never where indices depend on distances).
        registers: most registers of a thread.
        spills: most bytes of a thread that do not fit into registers.
    """

    kernel: Any
    pointers: Mapping[str, str]
    constants: Mapping[str, Any]
    warps: int = 4
    fused: bool = True
    registers: int = 128
    spills: int = 0


@dataclass(frozen=True)
class Usage:
    """What one thread of a compiled kernel uses: registers, and bytes of spilled stores and loads together."""

    registers: int
    spills: int


def cases() -> Iterator[tuple[str, Case]]:
    """Every kernel at the sizes of the models, float32 features."""
    width, tile = features.tiles(64)
    piece = {"TILE": tile, "WIDTH": width}
    rows = {"idx": "i32"}
    yield "gather", Case(features.gather_kernel, {"feat": "fp32", **rows, "out": "fp32"}, piece, registers=40)
    halves = {"feat": "bf16", **rows, "out": "bf16"}
    yield "gather, bfloat16", Case(features.gather_kernel, halves, piece, registers=40)
    tables = {"value": "fp32", "weight": "fp32", "start": "i32", "entry": "i32", "out": "fp32"}
    for mode, name in enumerate(("plain", "weighted", "shared")):
        constants = {"MODE": mode, "TILE": features.NEIGHBOR_TILE, "WIDTH": 64}
        yield f"scatter, {name}", Case(features.scatter_kernel, tables, constants, 2, registers=72)
    pointers = {"query": "fp32", "key": "fp32", "position": "fp32", **rows, "out": "fp32"}
    yield "gather, subtract, add", Case(features.relation_kernel, pointers, {"PLACED": True, **piece}, registers=64)
    pointers = {"grad": "fp32", "out": "fp32"}
    yield "sum of neighbors", Case(features.sum_neighbors_kernel, pointers, {"WIDTH": 64}, 2, registers=32)
    pointers = {"feat": "fp32", **rows, "weight": "fp32", "out": "fp32"}
    yield "interpolate", Case(features.interpolate_kernel, pointers, piece, registers=72)
    pointers = {"grad": "fp32", "feat": "fp32", **rows, "out": "fp32"}
    yield "interpolate, gradient of weights", Case(features.weight_gradient_kernel, pointers, piece, registers=88)
    yield from _norm_cases()
    yield from _aggregate_cases()
    yield from _search_cases()
    yield from _window_cases()


def _norm_cases() -> Iterator[tuple[str, Case]]:
    names = "grad x residual out mean scale shift first second grad_x grad_z sums means squares"
    floats = dict.fromkeys(names.split(), "fp32")
    for channels in (3, 64):
        width, tile = features.tiles(channels)
        piece = {"TILE": tile, "WIDTH": width}
        for name, kernel, constants in (
            ("moments", norm.moments_kernel, {"ROWS": norm.PART, **piece}),
            ("apply", norm.apply_kernel, {"ADDED": True, **piece}),
            ("sums", norm.sums_kernel, {"KNOWN": False, "ROWS": norm.PART, **piece}),
            ("gradient", norm.norm_backward_kernel, {"KNOWN": True, **piece}),
        ):
            pointers = {name: kind for name, kind in floats.items() if name in kernel.arg_names}
            yield f"batch norm, {name}, C={channels}", Case(kernel, pointers, constants)


def _aggregate_cases() -> Iterator[tuple[str, Case]]:
    pointers = {"value": "fp32", "position": "fp32", "weight": "fp32", "idx": "i32", "out": "fp32"}
    back = {"grad": "fp32", **pointers, "used": "fp32", "position_grad": "fp32", "weight_grad": "fp32"}
    del back["out"]
    for channels, neighbors in ((32, 8), (64, 16), (512, 16)):
        tile, k, width = aggregate._tiles(neighbors, channels, aggregate.FORWARD_TILE)
        constants = {"SOFTMAX": True, "PLACED": True, "TILE": tile, "K": k, "WIDTH": width}
        yield f"softmax-aggregate, C={channels}", Case(aggregate.aggregate_kernel, pointers, constants, registers=72)
        tile, k, width = aggregate._tiles(neighbors, channels // 8, aggregate.BACKWARD_TILE)
        constants = {"SOFTMAX": True, "PLACED": True, "TILE": tile, "K": k, "WIDTH": width}
        name = f"softmax-aggregate, C={channels}, gradient"
        yield name, Case(aggregate.aggregate_backward_kernel, back, constants, registers=80)


def _search_cases() -> Iterator[tuple[str, Case]]:
    pointers = {"xyz": "fp32", "query": "fp32", "bounds": "i32", "out": "i64"}
    tile = {"QUERIES": search.QUERIES, "SUPPORT": search.SUPPORT}
    yield "1-NN", Case(search.nearest_kernel, pointers, tile, fused=False, registers=72)
    for k, registers in ((4, 104), (16, 104), (32, 128)):  # of 32: 120 with triton 3.7.1, 93 with 3.9.0
        constants = {**tile, "K": k}
        case = Case(search.knn_kernel, pointers, constants, fused=False, registers=registers, spills=16)
        yield f"kNN, up to {k}", case
    pointers = {"xyz": "fp32", "row": "i32", "boxes": "fp32", "query": "fp32", "near": "i32"}
    constants = {"QUERIES": pruned.QUERIES, "SUPPORT": pruned.SUPPORT, "BLOCKS": pruned.BLOCKS}
    case = Case(pruned.pruned_kernel, {**pointers, "bounds": "i32", "out": "i64"}, constants, fused=False)
    yield "1-NN of large clouds", case
    pointers = {"xyz": "fp32", "bounds": "i32", "out": "i32", "radii2": "fp32"}
    for width, spills in ((1024, 0), (2048, 0), (8192, 0), (16_384, 224)):
        constants = {"SKIP": False, "WIDTH": width}
        warps = sampling.warps(width)
        yield f"FPS of {width}", Case(sampling.sample_kernel, pointers, constants, warps, False, spills=spills)


def _window_cases() -> Iterator[tuple[str, Case]]:
    names = "query key value grad query_table key_table value_table weight slope out query_grad key_grad value_grad"
    floats = dict.fromkeys((*names.split(), "slope_sums", "weight_sums"), "fp32")
    lists = {"ends": "i64", "keys": "i32", "bins": "u8", "first": "i64", "order": "i64", "owner": "i64"}
    ahead, back = {"TILE": window.TILE, "D": 16}, {"TILE": window.BACKWARD_TILE, "D": 16, "BINS": 64}
    for name, kernel, warps, constants, registers in (  # the first on sm_90: 156 with triton 3.7.1, 96 with 3.9.0
        ("window attention", window.window_kernel, window.WARPS, ahead, 168),
        ("window attention, gradient by query", window.window_query_kernel, window.BACKWARD_WARPS, back, 128),
        ("window attention, gradient by key", window.window_key_kernel, window.BACKWARD_WARPS, back, 128),
    ):
        pointers = {name: kind for name, kind in {**floats, **lists}.items() if name in kernel.arg_names}
        yield name, Case(kernel, pointers, constants, warps, registers=registers)


def usage(case: Case, architecture: int) -> Usage:
    """Compile one case for ``sm_<architecture>`` and ask ptxas."""
    names = case.kernel.arg_names
    scalars = {"sign": "fp32", "slope": "fp32"}
    signature, places = {}, {}
    for place, name in enumerate(names):
        if name in case.constants:
            signature[name] = "constexpr"
        elif name in case.pointers:
            signature[name] = f"*{case.pointers[name]}"
            places[(place,)] = [["tt.divisibility", 16]]  # torch's allocations are aligned
        else:
            signature[name] = scalars.get(name, "i32")
    source = ASTSource(case.kernel, signature, constexprs=dict(case.constants), attrs=places)
    options = {"num_warps": case.warps, "enable_fp_fusion": case.fused}
    made = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    return _ptxas(made.asm["ptx"], architecture, case.fused)


def _ptxas(ptx: str, architecture: int, fused: bool) -> Usage:
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    newer = tools / "ptxas-blackwell"  # reads the PTX that Triton writes for sm_90 and above, where it is shipped
    tool = newer if architecture >= 90 and newer.exists() else tools / "ptxas"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        suffix = "a" if architecture >= 90 else ""
        fusion = [] if fused else ["--fmad=false"]
        command = [str(tool), "-v", *fusion, f"--gpu-name=sm_{architecture}{suffix}", str(path), "-o", f"{path}.o"]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers = max(int(number) for number in re.findall(r"Used (\d+) registers", report))
    spills = sum(int(number) for number in re.findall(r"(\d+) bytes spill", report))
    return Usage(registers, spills)


def main() -> None:
    """Print the table."""
    print("| kernel | warps | " + " | ".join(f"sm_{a}: registers, spilled bytes" for a in ARCHITECTURES) + " | bound |")
    print("|---|---|" + "---|" * (len(ARCHITECTURES) + 1))
    for name, case in cases():
        found = [usage(case, architecture) for architecture in ARCHITECTURES]
        cells = " | ".join(f"{use.registers}, {use.spills}" for use in found)
        print(f"| {name} | {case.warps} | {cells} | {case.registers}, {case.spills} |", flush=True)


if __name__ == "__main__":
    main()
