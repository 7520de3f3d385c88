"""From settings to a launcher. Only the chosen one is imported: submitit costs half a second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mm3d_benchmarks.launching.outcome import Launcher
from mm3d_benchmarks.planning.import_paths import module_of, targets_in
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError
from mm3d_core.observing.hardware import visible_gpus

#: What runs of a kind import in functions: to distort scenes, to describe their weights, to draw what they saw.
_TRAINING = ("scipy.ndimage", "mm3d_benchmarks.pretrained.compose")
_DRAWING = ("matplotlib.figure", "matplotlib.backends.backend_agg", "mpl_toolkits.mplot3d")
BY_THE_WAY = {"pretrain": (*_TRAINING, *_DRAWING), "finetune": _TRAINING}


def make_launcher(settings: Mapping[str, Any], store: Store, specs: Sequence[RunSpec]) -> Launcher:
    """The launcher that some settings name (``conf/launcher/*.yaml``).

    Raises:
        UserError: there is no such launcher.
    """
    name = settings.get("name")
    if name == "local":
        from mm3d_benchmarks.launching.local import LocalPool

        runs = None if settings["max_parallel"] == "auto" else int(settings["max_parallel"])
        return LocalPool(store, runs, int(settings["threads"]), modules_of(specs), visible_gpus())
    if name == "debug":
        from mm3d_benchmarks.launching.local import InProcess

        return InProcess()
    if name == "slurm":
        from mm3d_benchmarks.launching.slurm_jobs import SlurmLauncher

        return SlurmLauncher(store, settings)
    raise UserError(f"launcher={name}: there is no such launcher; choose local, slurm or debug")


def modules_of(specs: Iterable[RunSpec]) -> list[str]:
    """Modules that some runs import, for a worker to import beforehand."""
    found = set()
    for spec in specs:
        own = spec.local.get("function")
        found.add(str(own or f"mm3d_benchmarks.runs.{spec.kind}._").rpartition(".")[0])
        found.update(() if own else BY_THE_WAY.get(spec.kind, ()))
        for key, target in targets_in(spec.config):  # type: ignore[arg-type]
            module = module_of(target, key)
            found.add(module.name if module else target.rpartition(".")[0])
    return sorted(found)
