"""JSON and YAML from anywhere: damaged text is a ValueError, and no tag makes an object."""

from __future__ import annotations

import json
from typing import Any

import yaml
from yaml.constructor import FullConstructor, SafeConstructor

YAML_LIMIT = 2**19  # characters; our largest YAML file has 8,000
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_yaml(text: str, loader: type = LOADER) -> Any:
    """The value of a YAML text; no tag makes an object.

    Args:
        loader: derived from ``yaml.SafeLoader``; others, which may make objects, are refused.

    Raises:
        TypeError: another loader.
        ValueError: not YAML, larger than a file of settings ever is, nested too deeply, or with what no setting is.
    """
    if not issubclass(loader, SafeConstructor) or issubclass(loader, FullConstructor):
        raise TypeError(f"{loader.__name__} is no safe loader; derive it from yaml.SafeLoader")
    if len(text) > YAML_LIMIT:
        raise ValueError(f"{len(text):,} characters, more than a file of settings may have ({YAML_LIMIT:,})")
    try:
        value = yaml.load(text, Loader=loader)  # pyright: ignore[reportArgumentType]
        _check_kinds(value, {})
    except (yaml.YAMLError, RecursionError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())[:300] or type(error).__name__) from error
    return value


def _check_kinds(value: Any, known: dict[int, bool]) -> None:
    """Refuse kinds of values that no setting has. A container is visited once, however many aliases name it.

    Args:
        known: by the identity of a container, whether all in it has been seen.
    """
    if isinstance(value, set | tuple | bytes):
        raise ValueError(f"a {type(value).__name__}, which no setting is")
    if isinstance(value, int) and abs(value) >> 1024:
        raise ValueError("a number of more than 300 digits")
    if not isinstance(value, dict | list) or known.get(id(value)):
        return
    if id(value) in known:
        raise ValueError("an alias within itself")
    known[id(value)] = False
    for part in [*value.keys(), *value.values()] if isinstance(value, dict) else value:
        _check_kinds(part, known)
    known[id(value)] = True
