"""Keys re-run what changed and nothing else: (an edit of the sources, the runs whose keys it changes)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mm3d_benchmarks.planning import fingerprint as fingerprints
from mm3d_benchmarks.planning import import_paths, kernels, reach
from mm3d_benchmarks.planning.fingerprint import MOVES_NO_NUMBER, fingerprint
from mm3d_benchmarks.planning.import_paths import load_module
from mm3d_benchmarks.planning.kernels import kernels_called
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.sweepfile import load_sweep
from mm3d_benchmarks.store.spec import RunSpec
from pointops import _native

ROOT = Path(__file__).resolve().parents[3]
SWEEPS = ("rivals", "table_07_framework_ablation", "table_10_detection_cost")
PACKAGES, BENCHMARKS, POINTOPS = ROOT / "packages", "benchmarks/mm3d_benchmarks", "pointops/pointops"
DETECTORS = ("votenet", "h3dnet")
ADDED = ("from __future__ import annotations\n", "from __future__ import annotations\n\nUNUSED = 1\n")
DEFINED = ("#include", "#define UNUSED 1\n#include")

Rule = Callable[[RunSpec], bool]


@pytest.fixture(scope="module")
def runs() -> dict[str, RunSpec]:
    """The runs of three tables of the smoke profile: all four backbones, the method and its rivals."""
    sweeps = [load_sweep(ROOT / "sweeps" / f"{name}.yaml") for name in SWEEPS]
    return Planner("smoke", needs_data=False).plan(sweeps).specs


@pytest.fixture
def changed(runs: dict[str, RunSpec], monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], set[str]]:
    """Plans again with one file read otherwise, and returns the keys of the runs whose key changes."""

    def edit(path: str, old: str, new: str) -> set[str]:
        edited = PACKAGES / path
        text = edited.read_text(encoding="utf-8")
        assert old in text, f"{path} has changed; choose another edit"
        text = text.replace(old, new, 1)
        monkeypatch.setattr(import_paths, "source_of", lambda file: source(file, edited, text))
        return moved(runs)

    def source(file: Path, edited: Path, text: str) -> bytes:
        return text.encode() if file.samefile(edited) else file.read_bytes()

    return edit


def moved(runs: dict[str, RunSpec]) -> set[str]:
    """Keys of the runs whose own code, or that of a run before them, has another fingerprint than planned."""
    for function in (import_paths.load_module, reach.reach_of, kernels.kernels_hash, fingerprints._of_roots):
        function.cache_clear()
    own = {key for key, spec in runs.items() if fingerprint(spec.kind, dict(spec.config)) != spec.code}
    while more := {key for key, spec in runs.items() if own & set(spec.upstream.values())} - own:
        own |= more
    return own


def backbone(*names: str) -> Rule:
    return lambda spec: spec.config["backbone"]["name"].startswith(names)


def uses(target: str) -> Rule:
    """Runs whose configuration names an import path in that module."""
    return lambda spec: f'"{target}.' in json.dumps(spec.config)


def detectors(spec: RunSpec) -> bool:
    """H3DNet's encoder stands beside its detector, VoteNet's in a file of its own; both detectors share parts."""
    return backbone("h3dnet")(spec) or (backbone("votenet")(spec) and spec.kind != "pretrain")


def nothing(_: RunSpec) -> bool:
    return False


def everything(_: RunSpec) -> bool:
    return True


@pytest.mark.parametrize(
    ("path", "old", "new", "rule"),
    [
        ("core/mm3d_core/observing/efficiency.py", "WARM_UP = ", "WARM_UP = 1 + ", nothing),
        ("core/mm3d_core/observing/log.py", '"tensorboard"', '"tb"', nothing),
        ("core/mm3d_core/files/atomic.py", *ADDED, nothing),
        ("core/mm3d_core/__init__.py", "__version__ = ", '__version__ = "9" + ', nothing),
        (f"{BENCHMARKS}/viewing/run_pictures.py", "MAX_DRAWN = 20000", "MAX_DRAWN = 30000", nothing),
        (f"{BENCHMARKS}/reports/tables.py", *ADDED, nothing),
        (f"{BENCHMARKS}/launching/ensure.py", "MOST_RETURNS = 5", "MOST_RETURNS = 6", nothing),
        (f"{BENCHMARKS}/store/store.py", *ADDED, nothing),
        (f"{BENCHMARKS}/datasets/readers/scannet.py", *ADDED, nothing),
        ("core/mm3d_core/training/fit.py", '"""', '"""Now: ', nothing),
        ("core/mm3d_core/training/fit.py", *ADDED, everything),
        (f"{BENCHMARKS}/loading/loading.py", *ADDED, everything),
        (f"{BENCHMARKS}/runs/pretrain.py", *ADDED, lambda spec: spec.kind == "pretrain"),
        (f"{BENCHMARKS}/runs/evaluate.py", *ADDED, lambda spec: spec.kind == "evaluate"),
        ("core/mm3d_core/methods/random_rooms.py", *ADDED, uses("mm3d_core.methods.random_rooms")),
        ("core/mm3d_core/methods/mm3dscene.py", *ADDED, uses("mm3d_core.methods.mm3dscene")),
        ("backbones/mm3d_backbones/h3dnet.py", *ADDED, backbone("h3dnet")),
        ("backbones/mm3d_backbones/votenet.py", *ADDED, detectors),
        (f"{POINTOPS}/window_attention.py", *ADDED, backbone("stratified_transformer")),
        (f"{POINTOPS}/vector_attention.py", *ADDED, backbone("point_transformer")),
        (f"{POINTOPS}/vote.py", *ADDED, nothing),
        (f"{POINTOPS}/knn.py", *ADDED, everything),
        (f"{POINTOPS}/__init__.py", "__all__ = [", '__all__ = ["more",', nothing),
        ("pointops/csrc/knn.cpp", "namespace", "static int more(int x) { return x; }\nnamespace", everything),
        ("pointops/csrc/knn.cpp", "namespace", "// a comment\nnamespace", nothing),
        ("pointops/csrc/tree.hpp", *DEFINED, everything),
        ("pointops/csrc/window_attention.cpp", *DEFINED, backbone("stratified_transformer")),
        ("pointops/csrc/vector_attention.cpp", *DEFINED, backbone("point_transformer")),
        ("pointops/CMakeLists.txt", "-ffp-contract=off", "-ffp-contract=fast", everything),
    ],
)  # fmt: skip
def test_an_edit_changes_the_keys_of_the_runs_that_it_reaches(
    runs: dict[str, RunSpec],
    changed: Callable[[str, str, str], set[str]],
    path: str,
    old: str,
    new: str,
    rule: Rule,
) -> None:
    reached = {key for key, spec in runs.items() if rule(spec)}
    while more := {key for key, spec in runs.items() if reached & set(spec.upstream.values())} - reached:
        reached |= more
    assert changed(path, old, new) == reached


def test_unedited_sources_change_no_key(runs: dict[str, RunSpec]) -> None:
    assert moved(runs) == set()
    assert {spec.config["backbone"]["name"] for spec in runs.values()} >= {*DETECTORS, "point_transformer"}


def test_what_moves_no_number_is_named_by_folder() -> None:
    found = {name: load_module(name) for name in MOVES_NO_NUMBER}
    assert [name for name, module in found.items() if module is None or module.file.name != "__init__.py"] == []


def test_every_kernel_is_called_by_a_name_that_can_be_read() -> None:
    """A kernel whose name is put together at run time would be in no key."""
    modules = [load_module(f"pointops.{path.stem}") for path in (PACKAGES / POINTOPS).glob("*.py")]
    called = set(itertools.chain.from_iterable(kernels_called(module) for module in modules if module))
    assert called == {*_native._SIGNATURES, *_native._IN_SOME}
