"""What several subcommands share: machine settings, changes of a run's folder."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from mm3d_benchmarks.launching.slurm_queue import may_still_run
from mm3d_benchmarks.planning.compose import CONF, available
from mm3d_benchmarks.store import locks
from mm3d_benchmarks.store.layout import JOB
from mm3d_benchmarks.store.store import Run
from mm3d_core.errors import UserError
from mm3d_core.files.untrusted import parse_yaml


def launcher_settings(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """``conf/launcher/<name>.yaml`` with the machine file and the command line laid over it.

    Raises:
        UserError: no such launcher, a machine file that is missing, damaged, or has unknown keys.
    """
    known = available("launcher")
    if name not in known:
        raise UserError(f"--launcher {name}: there is no such launcher; choose one of {', '.join(known)}")
    settings = yaml.safe_load((CONF / "launcher" / f"{name}.yaml").read_text(encoding="utf-8"))
    own = machine_file(options.machine).get("launcher") or {}
    strange = sorted(set(own) - set(settings) - _other_keys(known))
    if strange:
        raise UserError(f"{options.machine}: launcher.{strange[0]} is no setting; known: {', '.join(sorted(settings))}")
    settings.update({key: value for key, value in own.items() if key in settings and key != "name"})
    if options.max_parallel is not None:
        if options.max_parallel < 1:
            raise UserError(f"--max-parallel {options.max_parallel}: at least 1")
        settings["max_parallel"] = options.max_parallel
    return settings


def check_parameters(folder: Path) -> None:
    """Refuse parameters of the pipeline that no stage reads, as ``dvc exp run -S +lr=0.1`` adds them.

    Raises:
        UserError: ``params.yaml`` beside this pipeline's ``dvc.yaml`` names another than the profile.
    """
    path, stages = folder / "params.yaml", folder / "dvc.yaml"
    if not (path.is_file() and stages.is_file() and "mm3d plan" in stages.read_text(encoding="utf-8")):
        return
    try:
        known = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    strange = sorted(set(known) - {"profile"}, key=str) if isinstance(known, dict) else []
    if strange:
        raise UserError(
            f"{path}: {strange[0]} is read by no stage, the pipeline's one parameter is profile; a grid over "
            "settings is mm3d run -m backbone=point_transformer dataset=s3dis recipe.finetune.optimizer.lr=0.1,0.2"
        )


def machine_file(path: Path | str | None) -> dict[str, Any]:
    """The machine's settings: ``launcher:`` and ``machine:``.

    Raises:
        UserError: missing, not YAML, or with other sections.
    """
    if not path:
        return {}
    try:
        value = parse_yaml(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(value, dict) or set(value) - {"launcher", "machine"}:
        raise UserError(f"{path}: a machine file has the sections `launcher` and `machine` only")
    for section, settings in value.items():
        if not isinstance(settings or {}, dict) or not all(isinstance(name, str) for name in settings or {}):
            raise UserError(f"{path}: `{section}` is a mapping of settings")
    return value


@contextmanager
def idle(run: Run) -> Iterator[None]:
    """Hold a run that nobody works on and that is not queued, to change its folder.

    Raises:
        UserError: somebody does, or it may be.
    """
    if may_still_run([run]):
        job = (run.read(JOB) or {}).get("job")
        raise UserError(f"{run.folder}: its job {job} is queued or running; `scancel {job}` first")
    try:
        with locks.hold(run.lock_file):
            yield
    except locks.BusyError as busy:
        owner = f"pid {busy.owner.get('pid', '?')} on {busy.owner.get('host', 'another machine')}"
        raise UserError(f"{run.folder}: is being run by {owner}; stop it first") from busy


def forget_results(results: Path, key: str) -> None:
    """Remove a run's result files: they would count as its result where the run itself is gone."""
    for path in results.glob(f"*/runs/*/{key}.json"):
        path.unlink(missing_ok=True)


def _other_keys(known: list[str]) -> set[str]:
    """Settings of the other launchers: one machine file serves all of them."""
    keys: set[str] = set()
    for name in known:
        keys |= set(yaml.safe_load((CONF / "launcher" / f"{name}.yaml").read_text(encoding="utf-8")))
    return keys
