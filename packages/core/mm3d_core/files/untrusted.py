"""JSON and YAML from anywhere: damaged or hostile text is a ValueError, never a crash, a hang or a full memory."""

from __future__ import annotations

import json
from typing import Any

import yaml
from yaml.constructor import FullConstructor, SafeConstructor

ROOM = 400 * 2**20  # bytes that the values of a file may take beyond twice its size
VALUE = 80  # bytes that one JSON value may take in memory
YAML_LIMIT = 2**19  # characters; our largest YAML file has 8,000
YAML_VALUES = 100_000  # values, each counted as often as an alias repeats it
YAML_DEPTH = 100
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, nested too deeply, or so many values for its size that they would fill the memory.
    """
    marks = (b",", b"[", b"{", b":") if isinstance(text, bytes) else (",", "[", "{", ":")
    values = sum(text.count(mark) for mark in marks)  # type: ignore[arg-type]
    if values * VALUE > 2 * len(text) + ROOM:
        raise ValueError(f"about {values:,} values, more than fit into memory")
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
        ValueError: not YAML, larger than a file of settings ever is, nested too deeply, or swollen by aliases.
    """
    if not issubclass(loader, SafeConstructor) or issubclass(loader, FullConstructor):
        raise TypeError(f"{loader.__name__} is no safe loader; derive it from yaml.SafeLoader")
    if len(text) > YAML_LIMIT:
        raise ValueError(f"{len(text):,} characters, more than a file of settings may have ({YAML_LIMIT:,})")
    try:
        value = yaml.load(text, Loader=loader)  # pyright: ignore[reportArgumentType]
    except (yaml.YAMLError, RecursionError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())[:300] or type(error).__name__) from error
    _measure(value, 0, {})
    return value


def _measure(value: Any, depth: int, known: dict[int, int]) -> int:
    """How many values there are with aliases written out; each container is visited once."""
    if isinstance(value, int) and abs(value) >> 1024:
        raise ValueError("a number of more than 300 digits")
    if isinstance(value, set | tuple | bytes):
        raise ValueError(f"a {type(value).__name__}, which no setting is")
    if not isinstance(value, dict | list):
        return 1
    if depth > YAML_DEPTH:
        raise ValueError("nested too deeply, or an alias within itself")
    if id(value) not in known:
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else list(value)
        total = 1
        for part in parts:
            total += _measure(part, depth + 1, known)
            if total > YAML_VALUES:
                raise ValueError(f"more than {YAML_VALUES:,} values once its aliases are written out")
        known[id(value)] = total
    return known[id(value)]
