"""From what a configuration says to objects, explicitly: ``_target_`` is an import path, its constructor is the schema.

Nothing is registered and nothing is guessed: a key that the constructor does not know is refused by name. Sections
without a ``_target_`` have a class of ours as their schema and are read by the same rule.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mm3d_core.errors import UserError

T = TypeVar("T")
MISSING = object()


def instantiate(config: Any, path: str, **extra: Any) -> Any:
    """Build what a configuration describes; mappings without ``_target_`` and lists are built item by item.

    Args:
        path: the configuration's place, for messages.
        extra: arguments that only the program knows, such as the encoder.

    Raises:
        UserError: an import path that leads nowhere, a key that the constructor does not know or misses, or a value
            that it refuses.
    """
    if isinstance(config, Mapping) and "_target_" in config:
        target = resolve(str(config["_target_"]), f"{path}._target_")
        given = {key: instantiate(value, f"{path}.{key}") for key, value in config.items() if key != "_target_"}
        check_keys(target, {**given, **extra}, path)
        try:
            return target(**given, **extra)
        except (TypeError, ValueError) as error:
            raise UserError(f"{path} ({config['_target_']}): {error}") from error
    if isinstance(config, Mapping):
        return {key: instantiate(value, f"{path}.{key}") for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [instantiate(value, f"{path}[{number}]") for number, value in enumerate(config)]
    return config


def resolve(target: str, path: str) -> Any:
    """What an import path names.

    Raises:
        UserError: no such module or name, or one of Python's own modules (no configuration needs them).
    """
    module_name, _, name = target.rpartition(".")
    if not module_name or module_name.split(".")[0] in sys.stdlib_module_names:
        raise UserError(f"{path}={target}: is not an import path of a class that configurations may use")
    try:
        found = getattr(importlib.import_module(module_name), name, None)
    except ImportError as error:
        raise UserError(f"{path}={target}: {error}; correct the import path or install what provides it") from error
    if not callable(found):
        raise UserError(f"{path}={target}: {module_name} has no class {name}; correct the import path")
    return found


def section(schema: Callable[..., T], given: Any, path: str) -> T:
    """A section whose keys are the fields of ``schema``.

    Raises:
        UserError: no mapping, a key that is unknown or missing, or a value that the schema refuses.
    """
    if not isinstance(given, Mapping):
        raise UserError(f"{path}={given}: must be a section with keys of its own")
    check_keys(schema, given, path)
    return schema(**given)


def check_keys(target: Callable[..., Any], given: Mapping[str, Any], path: str) -> None:
    """Hold keys against the arguments of a constructor: the one place where a run refuses what nobody knows.

    Raises:
        UserError: a key that is unknown, or one that is missing.
    """
    parameters = inspect.signature(target).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    unknown = [key for key in given if key not in parameters]
    if unknown:
        raise UserError(
            f"{path}.{unknown[0]}: {target.__qualname__} has no such option; it knows {', '.join(parameters)}"
        )
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        and name not in given
    ]
    if missing:
        raise UserError(f"{path}.{missing[0]}: {target.__qualname__} needs it; add it to the configuration")


def value_at(config: Any, path: str, default: Any = MISSING) -> Any:
    """A dotted key of a configuration as it came.

    Raises:
        UserError: it is not there and there is no default.
    """
    value: Any = config
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            if default is MISSING:
                raise UserError(f"{path}: this run's configuration lacks it")
            return default
        value = value[name]
    return value
