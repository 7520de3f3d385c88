"""Which cells of a table a profile leaves out, or a command is restricted to: by values of their configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
    """``["task=segmentation", "backbone.name=votenet"]`` as conditions.

    Raises:
        UserError: a word without ``=``.
    """
    strange = next((word for word in words if "=" not in word), None)
    if strange is not None:
        raise UserError(f"--where {strange}: write KEY=VALUE, for example task=segmentation")
    return {word.split("=", 1)[0]: word.split("=", 1)[1] for word in words}


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
