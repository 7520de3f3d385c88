"""No key that nobody knows: overrides and ``_target_`` sections are held against files and constructors."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from mm3d_benchmarks.planning import import_paths as targets
from mm3d_core.errors import UserError

#: Choices that had a short name before, each beside the present one.
FORMER_NAMES = {"csc": "contrastive_scene_contexts", "msc": "masked_scene_contrast"}

#: Sections whose schema is a class of ours, though they carry no ``_target_``.
_SCHEMAS = {
    "recipe.pretrain": "mm3d_benchmarks.runs.recipe.Recipe",
    "recipe.finetune": "mm3d_benchmarks.runs.recipe.Recipe",
    "machine": "mm3d_benchmarks.runs.machine.Machine",
}


def set_value(config: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted key that exists, or that the constructor of the ``_target_`` beside it accepts.

    Raises:
        UserError: nobody knows the key.
    """
    *parents, last = path.split(".")
    here: Any = config
    for depth, name in enumerate(parents):
        if isinstance(here.get(name), dict):
            here = here[name]
        elif here.get(name) is None and _accepts(here, name):
            here[name] = {}
            here = here[name]
        else:
            raise _unknown(".".join(parents[: depth + 1]), here, name)
    schema = _SCHEMAS.get(".".join(parents))
    if last not in here and not _accepts(here, last) and not (schema and targets.accepts(schema, last) is not False):
        raise _unknown(path, here, last)
    here[last] = copy.deepcopy(value)


def check_targets(config: Mapping[str, Any], path: str = "") -> None:
    """Hold every ``_target_`` of the project against its constructor, without importing it.

    Raises:
        UserError: a target that does not exist, or a key that its constructor does not accept.
    """
    if "_target_" in config:
        target = str(config["_target_"])
        targets.module_of(target, f"{path}._target_" if path else "_target_")
        for name in config:
            if not name.startswith("_") and targets.accepts(target, name) is False:
                known = sorted(targets.parameters_of(target) or ())
                raise UserError(f"{path}.{name}: {target} has no such argument{did_you_mean(name, known)}")
    for name, value in config.items():
        inner = f"{path}.{name}" if path else str(name)
        if isinstance(value, Mapping):
            known = targets.parameters_of(_SCHEMAS[inner]) if inner in _SCHEMAS else None
            strange = sorted(set(value) - known) if known is not None else []
            if strange:
                close = did_you_mean(strange[0], sorted(known or ()))
                raise UserError(
                    f"{inner}.{strange[0]}: there is no such key{close}; known: {', '.join(sorted(known or ()))}"
                )
            check_targets(value, inner)
        elif isinstance(value, list):
            for position, item in enumerate(value):
                if isinstance(item, Mapping):
                    check_targets(item, f"{inner}[{position}]")


def _accepts(here: Mapping[str, Any], name: str) -> bool:
    return "_target_" in here and targets.accepts(str(here["_target_"]), name) is not False


def _unknown(path: str, here: Any, name: str) -> UserError:
    known = sorted(here) if isinstance(here, Mapping) else []
    if isinstance(here, Mapping) and "_target_" in here:
        known = sorted({*known, *(targets.parameters_of(str(here["_target_"])) or ())} - {"_target_"})
    return UserError(
        f"{path}: there is no such key{did_you_mean(name, known)}; known here: {', '.join(known) or 'nothing'}"
    )


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A clause for an error message: the present name of a former one, else the known name that looks most like it."""
    former = FORMER_NAMES.get(name)
    close = [former] if former in known else difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""
