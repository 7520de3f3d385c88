"""What the numbers of a result mean: the form of an evaluation's ``metrics.json``, with the units of everything in it.

    form 1   segmentation in percent, detection as fractions of 1; carries no ``form``
    form 2   every score in percent, of every task; counts (``classes_scored``) as they are

A run's other files name their units in their keys (``seconds_total``, ``peak_memory_bytes``); what a table makes of
them (hours, GB, millions) is converted in ``results/collect.py`` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm3d_core.errors import UserError

FORM = 2


def check_form(result: Mapping[str, Any], name: str, key: str) -> None:
    """Refuse an evaluation whose scores are of another form than this program reads.

    Args:
        result: what the file holds; anything but an evaluation passes.
        name: the file, for the message.

    Raises:
        UserError: another form; the message names the file and what to do.
    """
    found = result.get("form", 1)
    if result.get("kind") != "evaluate" or found == FORM:
        return
    why = "detection scores as fractions instead of percent" if found == 1 else "scores that this program cannot read"
    raise UserError(
        f"{name}: metrics of form {found}, with {why}; this program reads form {FORM}: "
        f"`mm3d store rm {key}`, then run its sweep again (only the evaluation is repeated)"
    )
