"""The launcher's settings, read as people write them, in submitit's words; what cannot be read is refused by name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from mm3d_core.errors import UserError

_GPUS = re.compile(r"(?:(?P<type>[A-Za-z][\w.-]*):)?(?P<count>\d+)")
_SLURM_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>\d\d)(?::(?P<seconds>\d\d))?")
_UNIT_TIME = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>d|h|m|min)")
_MEMORY = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[MGT])i?B?", re.IGNORECASE)
_MINUTES = {"d": 1440.0, "h": 60.0, "m": 1.0, "min": 1.0}
_MEBIBYTES = {"M": 1.0, "G": 1024.0, "T": 1024.0**2}


def parameters(settings: Mapping[str, Any], title: str = "mm3d") -> dict[str, Any]:
    """The launcher's settings in submitit's words; what is null and may be is left to the cluster.

    Raises:
        UserError: a value that is none of its setting's, with what to write instead.
    """
    gpus, number = gpus_of(settings["gpus"])
    additional = settings["additional"]
    if not isinstance(additional, Mapping):
        raise UserError(
            f"launcher.additional={additional or 'null'}: is a mapping of sbatch options, such as {{nice: 100}}"
        )
    known = {
        "job_name": title,
        "partition": settings["partition"],
        "account": settings["account"],
        "qos": settings["qos"],
        "time": minutes_of(settings["minutes"]),
        "nodes": whole(settings, "nodes", 1),
        "ntasks_per_node": max(1, number),
        "cpus_per_task": whole(settings, "cpus", 1),
        "gpus_per_node": gpus,
        "mem": memory_of(settings["memory_gb"]),
        "array_parallelism": whole(settings, "max_parallel", 1),
        "signal_delay_s": whole(settings, "signal_seconds", 1),
        "setup": [
            f"export OMP_NUM_THREADS={whole(settings, 'threads', 1)}",
            "export SLURM_EXPORT_ENV=ALL",  # where a site has jobs start without their environment, steps keep it
            *lines_of(settings["setup"]),
        ],
        "srun_args": ["--kill-on-bad-exit=1"],  # a process that dies without a word takes the others with it
        "additional_parameters": dict(additional),
        "stderr_to_stdout": True,
    }
    return {name: value for name, value in known.items() if value is not None}


def whole(settings: Mapping[str, Any], name: str, least: int = 0) -> int:
    """A setting that is a whole number.

    Raises:
        UserError: it is not, or below ``least``.
    """
    value = settings[name]
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if type(value) is not int or value < least:
        shown = "null" if value is None else value
        raise UserError(f"launcher.{name}={shown}: is no whole number from {least} on; correct it in your machine file")
    return value


def gpus_of(value: Any) -> tuple[str | None, int]:
    """What sbatch is asked for on each node, and how many that are: ``2``, ``"2"`` or ``"a100:2"``."""
    found = _GPUS.fullmatch(str(value).strip()) if type(value) in (int, str) else None
    if found is None:
        shown = "null" if value is None else value
        raise UserError(f'launcher.gpus={shown}: write a number for each node, as 2 or "a100:2"; 0 for none')
    number = int(found["count"])
    return (None if number == 0 else str(value).strip() if found["type"] else str(number)), number


def minutes_of(value: Any) -> int:
    """A time limit in whole minutes: ``90``, ``"90m"``, ``"24h"``, ``"2d"``, ``"1-00:00:00"`` or ``"36:00:00"``."""
    if type(value) in (int, float) and 1 <= value < math.inf:
        return math.ceil(value)
    text = str(value).strip()
    found = _UNIT_TIME.fullmatch(text)
    if isinstance(value, str) and found:
        return max(1, math.ceil(float(found["number"]) * _MINUTES[found["unit"]]))
    found = _SLURM_TIME.fullmatch(text)
    if isinstance(value, str) and found and (found["seconds"] or found["days"]):
        parts = [int(found[name] or 0) for name in ("days", "hours", "minutes", "seconds")]
        return max(1, math.ceil(parts[0] * 1440 + parts[1] * 60 + parts[2] + parts[3] / 60))
    if isinstance(value, str) and text.isdecimal() and int(text) > 0:
        return int(text)
    shown = "null" if value is None else value
    raise UserError(
        f'launcher.minutes={shown}: write minutes, as 1440, or "24h", "2d", "1-00:00:00" in quotes (YAML reads '
        "24:00:00 without quotes as a number)"
    )


def memory_of(value: Any) -> str | None:
    """Memory of a node as sbatch reads it: ``64``, ``0.5`` (GiB), ``"64G"`` or ``"500M"``; null leaves it open."""
    if value is None:
        return None
    if type(value) in (int, float) and 0 < value < math.inf:
        mebibytes = value * 1024.0
    else:
        found = _MEMORY.fullmatch(str(value).strip())
        mebibytes = float(found["number"]) * _MEBIBYTES[found["unit"].upper()] if found else 0.0
    if mebibytes < 1:
        raise UserError(
            f'launcher.memory_gb={value}: write GiB, as 64 or 0.5, or "500M"; null leaves it to the cluster'
        )
    whole_gib = mebibytes % 1024 == 0
    return f"{round(mebibytes / 1024)}GB" if whole_gib else f"{math.ceil(mebibytes)}MB"


def lines_of(value: Any) -> list[str]:
    """Shell lines: a list of them, or one text."""
    if isinstance(value, str):
        return value.splitlines()
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return list(value)
    shown = "null" if value is None else value
    raise UserError(f'launcher.setup={shown}: is a list of shell lines, as ["module load cuda"]; [] for none')
