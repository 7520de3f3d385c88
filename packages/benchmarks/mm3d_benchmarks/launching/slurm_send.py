"""Sending jobs: one array through submitit, in an environment that holds nothing of the job we may be in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mm3d_benchmarks.launching.slurm_place import RunJob
from mm3d_benchmarks.launching.slurm_settings import parameters
from mm3d_benchmarks.store.store import Run
from mm3d_core.errors import UserError

#: Words of sbatch that say "not so many", or "not now".
_TOO_MANY = re.compile(r"Max\w*Submit\w*|Grp\w*Submit\w*|MaxJobCount|MaxArray", re.IGNORECASE)
_NOT_NOW = re.compile(
    r"temporarily unable|Unable to contact slurm|timed out|Resource temporarily unavailable|Connection refused"
    r"|Zero Bytes were transmitted|unexpected message|try again",
    re.IGNORECASE,
)
_INHERITED = ("SLURM_", "SBATCH_", "SRUN_", "SALLOC_")
_KEPT = ("SLURM_CONF",)


class TryLaterError(Exception):
    """The cluster takes no more jobs at present; ``many`` when fewer at once may pass."""

    def __init__(self, text: str, many: bool) -> None:
        super().__init__(text)
        self.many = many


def send(
    folder: Path, settings: Mapping[str, Any], groups: Sequence[Sequence[Run]], titles: Sequence[str]
) -> list[str]:
    """Submit one array, a job for each group of runs; the job ids, in order.

    Args:
        folder: where submitit keeps what it sends and what jobs print.
        titles: what each job is for, such as ``table_07 iv/0``.

    Raises:
        TryLaterError: a limit of submissions is reached, or the controller is busy.
        UserError: sbatch refuses for good.
    """
    import submitit

    executor = submitit.SlurmExecutor(folder=folder / "%A", max_num_timeout=1_000_000)
    executor.update_parameters(**parameters(settings, name_of(titles)))
    try:
        with clean_environment(), executor.batch():
            jobs = [
                executor.submit(RunJob([str(run.folder.resolve()) for run in group], f"mm3d {title}"))
                for group, title in zip(groups, titles, strict=True)
            ]
    except RuntimeError as error:
        text = " ".join(str(error).split())[-400:]
        if _TOO_MANY.search(text) or _NOT_NOW.search(text):
            raise TryLaterError(text, bool(_TOO_MANY.search(text))) from error
        raise UserError(
            f"sbatch refuses the jobs: {text}; check partition, account and limits in your machine file"
        ) from error
    return [job.job_id for job in jobs]


def name_of(titles: Sequence[str]) -> str:
    """The name of an array: its first row, and how many more there are; each task takes its own when it starts."""
    return f"mm3d {titles[0]}" + (f" +{len(titles) - 1}" if len(titles) > 1 else "")


@contextmanager
def clean_environment() -> Iterator[None]:
    """Without what Slurm told the job that this process may be part of: sbatch would take it for options."""
    hidden = {n: v for n, v in os.environ.items() if n.startswith(_INHERITED) and n not in _KEPT}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
