"""The values of an override that stands for several runs, in Hydra's syntax; Hydra's own keys are answered."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from mm3d_core.errors import UserError

_INSTEAD = {
    "hydra/launcher": "--launcher slurm (or local, debug)",
    "hydra.launcher": "a file for --machine",
    "hydra.searchpath": "--conf DIR",
    "hydra.sweep": "--store DIR",
    "hydra.run": "--store DIR",
    "hydra.sweeper": "-m with lists of values, such as seed=0,1,2",
}


def refuse_hydras_own(key: str, text: str) -> None:
    """Hydra composes configurations here and does nothing else.

    Raises:
        UserError: the key is one of Hydra's own; with what to use here.
    """
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        known = next(
            (use for name, use in _INSTEAD.items() if key.startswith(name)), "the options of `mm3d run --help`"
        )
        raise UserError(f"{text}: Hydra's own settings do nothing here; use {known}")


def values_of(override: Any, key: str, choices: Callable[[str], list[str]]) -> list[Any]:
    """The values of a sweep: a list, a range, or a pattern over the files of a group.

    Args:
        override: as Hydra parsed it.
        choices: the files of a group.

    Raises:
        UserError: an interval, which has no list of values, or a pattern that matches nothing.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob, IntervalSweep, Transformer

    given = override.value()
    if isinstance(given, IntervalSweep):
        raise UserError(
            f"{key}=interval({given.start},{given.end}): an interval is no list of values; write {key}=0,1,2 or "
            f"{key}=range(0,3)"
        )
    if isinstance(given, Glob):
        known = choices(key)
        if not known:
            raise UserError(f"{key}=glob(...): patterns choose files of a group, and {key} is none; list the values")
        values: list[Any] = [
            name
            for name in known
            if any(fnmatchcase(name, p) for p in given.include) and not any(fnmatchcase(name, p) for p in given.exclude)
        ]
        if not values:
            raise UserError(f"{key}=glob({','.join(given.include)}): matches none of {', '.join(known)}")
        return values
    values = list(override.sweep_iterator(transformer=Transformer.identity))
    return [OverridesParser.create().parse_override(f"{key}={value}").value() for value in values]


def check_seed(seed: Any) -> None:
    """A seed is a whole number: another would run as one, under a key of its own.

    Raises:
        UserError: it is not.
    """
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise UserError(f"seed={'null' if seed is None else seed}: is no whole number from 0 to {2**31 - 1}")
