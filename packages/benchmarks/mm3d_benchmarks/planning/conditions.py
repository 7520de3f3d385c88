"""Which cells of a table a profile leaves out, or a command is restricted to: by values of their configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mm3d_benchmarks.store.spec import KINDS, RunSpec
from mm3d_core.errors import UserError

MISSING = object()


def holds(chain: Mapping[str, RunSpec], conditions: Mapping[str, Any]) -> bool:
    """Whether a cell's runs have these values.

    Args:
        chain: the cell's runs by kind.
        conditions: dotted key -> value, or a list of values of which one is enough; all keys must hold. A key is
            looked up in the last run that has it.
    """
    return all(
        any(_same(_value(chain, key), one) for one in (wanted if isinstance(wanted, list) else [wanted]))
        for key, wanted in conditions.items()
    )


def parse_conditions(words: Sequence[str]) -> dict[str, Any]:
    """``["task=segmentation", "seed=0", "seed=1"]`` as conditions; of values for one key, one is enough.

    A value counts as YAML, in which a list is written ``[coord, color]`` and compared as a whole, and as it is written.

    Raises:
        UserError: a word without ``=``, or a value that is no YAML.
    """
    conditions: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise UserError(f"--where {word}: write KEY=VALUE, for example task=segmentation")
        try:
            conditions.setdefault(key, []).extend([yaml.safe_load(text), text])
        except yaml.YAMLError:
            raise UserError(f"--where {word}: the value is no YAML; quote it, for example {key}='\"{text}\"'") from None
    return conditions


def left_out(chain: Mapping[str, RunSpec], entries: Sequence[Mapping[str, Any]]) -> str:
    """Why a profile leaves a cell out: the ``because`` of the first entry that holds; empty if it does not.

    Args:
        entries: of the profile's ``leave_out``: conditions, and ``because``.
    """
    for entry in entries:
        if holds(chain, {key: value for key, value in entry.items() if key != "because"}):
            return str(entry.get("because", "left out by the profile"))
    return ""


def _same(value: Any, wanted: Any) -> bool:
    """Equal, or equal as written: words from a command line are texts."""
    return value == wanted or str(value).lower() == str(wanted).lower()


def _value(chain: Mapping[str, RunSpec], path: str) -> Any:
    for kind in reversed(KINDS):
        here: Any = chain[kind].config if kind in chain else {}
        for name in path.split("."):
            here = here.get(name, MISSING) if isinstance(here, Mapping) else MISSING
        if here is not MISSING:
            return here
    return MISSING
