"""One run, from its folder to its result: what every launcher calls, in whatever process.

The order of files is the contract: the lock first, the attempt and the provenance before the work, the result last.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mm3d_benchmarks.launching.out_of_memory import is_out_of_memory, out_of_memory
from mm3d_benchmarks.launching.put_off import put_off_compiler
from mm3d_benchmarks.launching.too_small import too_small
from mm3d_benchmarks.planning.given_weights import is_given
from mm3d_benchmarks.store import layout, locks, provenance
from mm3d_benchmarks.store.sharing import share_with_group
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Run, Store
from mm3d_core.errors import UserError

FAILED, PREEMPTED, BUSY = 1, 75, 76  # exit statuses; 75 is "try again later", as in mm3d_core.training.interruption
KEEP = "MM3D_KEEP_CHECKPOINTS"  # an environment variable: 1 keeps the checkpoints of finished runs
RunFunction = Callable[[dict[str, Any], Path, dict[str, Path]], dict[str, Any] | None]


def execute(
    folder: Path,
    announce: Callable[[bool], None] | None = None,
    check: Callable[[RunSpec], None] | None = None,
) -> int:
    """Do the run in ``folder`` unless it is done or somebody else is doing it.

    Args:
        announce: told whether there is anything to do, before it is done: other processes of a group wait for it.
        check: raises a UserError where the run must not be done here and now.

    Returns:
        0 with ``metrics.json`` in place, FAILED with ``failure.json``, PREEMPTED when it stopped on request and wants
        to go on later, BUSY when another process holds its lock.
    """
    run = Run(folder)
    share_with_group(folder.parent)
    try:
        with locks.hold(run.lock_file, wait_seconds=1.0):
            wanted = not run.is_done and _allowed(run, check)
            if announce:
                announce(wanted)
            if run.is_done:
                return 0
            return _attempt(run) if wanted else FAILED
    except locks.BusyError as busy:
        if announce:
            announce(False)
        print(f"mm3d: {busy}; leaving it alone", file=sys.stderr, flush=True)
        return BUSY


def _allowed(run: Run, check: Callable[[RunSpec], None] | None) -> bool:
    try:
        if check:
            check(run.spec())
    except UserError as error:
        _fail(run, str(error), None)
        return False
    return True


def _attempt(run: Run) -> int:
    """One start, under the lock."""
    run.begin_attempt()
    try:
        _compute(run, run.spec())
    except SystemExit as stop:
        if stop.code == -1 and "SLURM_JOB_ID" in os.environ:  # submitit has requeued the job and ends this process
            run.take_back_attempt()
            raise
        if stop.code not in (PREEMPTED, None, 0):
            return _fail(run, f"the run ended itself with status {stop.code}", traceback.format_exc())
        run.take_back_attempt()
        print(f"mm3d: {stop}", file=sys.stderr, flush=True)
        return PREEMPTED
    except KeyboardInterrupt:
        run.take_back_attempt()
        return PREEMPTED
    except UserError as error:
        return _fail(run, f"{error}{too_small(run.spec(), run.folder)}", None)
    except BaseException as error:
        if is_out_of_memory(error):
            return _fail(run, f"{out_of_memory(run.spec())} ({str(error).splitlines()[0]})", traceback.format_exc())
        return _fail(run, f"{type(error).__name__}: {error}", traceback.format_exc())
    with suppress(OSError):
        (run.folder / layout.FAILURE).unlink(missing_ok=True)
    if os.environ.get(KEEP, "0") in ("", "0"):
        run.drop_checkpoints()
    return 0


def _compute(run: Run, spec: RunSpec) -> None:
    function = run_function(spec)
    if "torch" in sys.modules:
        put_off_compiler()
    store = Store(run.folder.parent)
    upstream = {role: store.run(key) for role, key in spec.upstream.items()}
    for role, before in upstream.items():
        if not before.is_done:
            raise UserError(f"{before.folder}: the {role} run that {run.key} starts from has no result; run it first")
    inherited = provenance.of_weights(before.folder for before in upstream.values())
    run.write(layout.PROVENANCE, {**provenance.gather(_device(spec), _ops_backend()), **inherited})
    _prepare_description(run, spec)
    _for_the_debug_log("mm3d_benchmarks.runs.training", "memory setting")
    result = function(spec.effective_config(), run.folder, {role: before.folder for role, before in upstream.items()})
    if not run.is_done:
        layout.write_result(run.folder, **{"kind": spec.kind, "metrics": {}, **(result or {})})


def _prepare_description(run: Run, spec: RunSpec) -> None:
    """Leave in the run's folder what its weights will say about themselves; ``layout.write_result`` puts it in.

    Weights that were given say it already, or nobody knows. No run ends for want of a description: what is wrong with
    a configuration the run itself says better, and `mm3d store describe` makes up for it later.
    """
    backbone = spec.config.get("backbone")
    if (
        spec.kind == "evaluate"
        or is_given(spec.config)
        or not isinstance(backbone, dict)
        or not isinstance(backbone.get("encoder"), dict)
    ):
        return
    from mm3d_benchmarks.pretrained.compose import description_of  # like the run itself, it brings torch

    try:
        description = description_of(run)
    except UserError as error:
        print(f"mm3d: these weights will not describe themselves: {error}", file=sys.stderr, flush=True)
        description = None
        (run.folder / layout.DESCRIPTION).unlink(missing_ok=True)  # of an earlier attempt
    if description is not None:
        run.write(layout.DESCRIPTION, description.to_json())


def _for_the_debug_log(name: str, beginning: str) -> None:
    """Keep a logger's lines with this beginning for those whose root logger shows debug messages."""

    def wanted(record: logging.LogRecord) -> bool:
        return logging.getLogger().isEnabledFor(logging.DEBUG) or not record.getMessage().startswith(beginning)

    logger = logging.getLogger(name)
    if not any(getattr(known, "__name__", "") == "wanted" for known in logger.filters):
        logger.addFilter(wanted)


def run_function(spec: RunSpec) -> RunFunction:
    """``mm3d_benchmarks.runs.<kind>.run_<kind>``, imported now: it brings torch.

    ``local.function`` names another one.
    """
    path = spec.local.get("function") or f"mm3d_benchmarks.runs.{spec.kind}.run_{spec.kind}"
    module, _, name = str(path).rpartition(".")
    if module.split(".")[0] in sys.stdlib_module_names:
        raise UserError(f"local.function={path}: is no function of a run")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"local.function={path}: {error}; run the sweep again") from error


def _fail(run: Run, message: str, trace: str | None) -> int:
    print(trace or f"mm3d: {message}", file=sys.stderr, flush=True)
    with suppress(UserError):  # the disk may be what failed
        layout.write_failure(run.folder, message, trace or "")
    return FAILED


def _device(spec: RunSpec) -> str:
    """The name of the device that the run will compute on."""
    wanted = str(spec.local.get("machine", {}).get("device", "auto"))
    torch = sys.modules.get("torch")
    if wanted == "cpu" or torch is None or not torch.cuda.is_available():
        return "cpu"
    return torch.cuda.get_device_name()


def _ops_backend() -> str:
    """Which kernels ``pointops`` uses, if it says so."""
    describe = getattr(sys.modules.get("pointops"), "backend", None)
    with suppress(Exception):
        return str(describe()) if callable(describe) else ""
    return ""
