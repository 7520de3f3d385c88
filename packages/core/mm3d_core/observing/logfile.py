"""``log.jsonl``: one line of JSON for each record of a training, in the order of its steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_text
from mm3d_core.files.untrusted import parse_json

LOG_FILE = "log.jsonl"


def truncate_log(path: Path, step: int) -> None:
    """Keep the whole lines up to ``step``; a line cut short by a kill goes with the rest. Step 0 empties the log."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            if parse_json(line)["step"] > step or not line.endswith("\n"):
                break
        except (ValueError, KeyError, TypeError):
            break
        kept.append(line)
    write_text(path, "".join(kept) if step else "")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The records of a run's log so far.

    Raises:
        UserError: the log is damaged.
    """
    path = folder / LOG_FILE
    if not path.exists():
        return []
    try:
        lines = path.read_bytes().split(b"\n")
        records = [parse_json(line) for line in lines if line.endswith(b"}")]
        if any(type(record["step"]) is not int for record in records):
            raise ValueError("a step that is no number")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); delete the run's folder and run it again") from error
    return records
