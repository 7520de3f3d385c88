"""Reads mutated files one after the other in a process of its own, and reports every promise that a reader breaks.

    python -m hostile.attack FOLDER FIRST COUNT CASE...      (with tests/ on the path)

Prints one line of JSON per violation, with the seed that repeats it (FIRST=seed COUNT=1), and one per case at its end.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import Any

from hostile.cases import Case, all_cases
from hostile.damage import CANARY, Mutation
from hostile.mutations import mutate

from mm3d_core.errors import UserError

SECONDS = 60  # for one input; most take milliseconds, on a busy machine too
ROOM = 500 * 10**6  # bytes of memory beyond twice the file's size
OUTSIDE = Path("/tmp/mm3d-hostile-escaped")


class TooSlowError(BaseException):
    """An input took longer than any may."""


def attack(case: Case, folder: Path, first: int, count: int) -> dict[str, Any]:
    """Read ``count`` mutations of one case; returns its summary and prints violations."""
    work = folder / "a" / "b" / case.name.replace(" ", "_")
    work.mkdir(parents=True)
    os.chdir(work)
    case.make(work)
    case.read(work)  # the honest file, which also imports what the reader needs
    files = [work / name for name in case.files]
    honest = {file: file.read_bytes() for file in files}
    shutil.rmtree(work / "out", ignore_errors=True)
    before = tree(folder, work / "out")
    summary: dict[str, Any] = {"case": case.name, "inputs": 0, "refused": 0, "violations": 0, "seconds": 0.0, "mb": 0}
    start = time.monotonic()
    for seed in range(first, first + count):
        random = Random(f"{case.name}/{seed}")
        file = random.choice(files)
        mutation = mutate(honest[file], case.kind, random)
        file.write_bytes(mutation.data)
        low = reset_peak()
        problem, refused = read(case, work, file, mutation)
        used = peak() - low
        file.write_bytes(honest[file])
        shutil.rmtree(work / "out", ignore_errors=True)
        allowed = 2 * max(len(mutation.data), len(honest[file])) + ROOM
        if problem is None and used > allowed:
            problem = f"{used / 1e6:.0f} MB for a file of {len(mutation.data) / 1e6:.3f} MB"
        after = tree(folder, work / "out")
        if after != before or OUTSIDE.exists():
            problem = f"wrote outside of its folder: {sorted(after ^ before)[:4]} {OUTSIDE if OUTSIDE.exists() else ''}"
            before = after
        if (work / CANARY).exists():
            problem = "executed what was in the file"
            (work / CANARY).rmdir()
        summary["inputs"] += 1
        summary["refused"] += refused
        summary["mb"] = max(summary["mb"], round(used / 1e6))
        if problem is not None:
            summary["violations"] += 1
            print(json.dumps({"case": case.name, "seed": seed, "file": file.name, "problem": problem}), flush=True)
    summary["seconds"] = round(time.monotonic() - start, 1)
    return summary


def read(case: Case, work: Path, file: Path, mutation: Mutation) -> tuple[str | None, bool]:
    """What is wrong with how a reader takes one input (None: nothing), and whether it was refused."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    faulthandler.dump_traceback_later(6 * SECONDS, exit=True, file=2)
    try:
        case.read(work)
    except UserError as error:
        named = any(word in str(error) for word in (file.name, *case.named))
        return (None if named else f"the message does not name the file: {str(error)[:300]}"), True
    except TooSlowError:
        return f"took more than {SECONDS} s", True
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {last.name}: {str(error)[:300]}", True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    if mutation.hopeless and not case.forgiving:
        return "accepted, though the format tells that it cannot be right", False
    return None, False


def tree(folder: Path, but: Path) -> set[str]:
    """Names of everything below a folder, less what a reader may write."""
    found = set()
    for root, folders, files in os.walk(folder):
        if Path(root) == but.parent:
            folders[:] = [name for name in folders if name not in (but.name, CANARY)]
        found.update(os.path.join(root, name) for name in (*folders, *files))
    return found


def reset_peak() -> int:
    """Forget the peak of this process's memory; returns what is used now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The largest resident memory since the last reset, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def stop(*_: object) -> None:
    """The alarm's handler."""
    raise TooSlowError


def main() -> int:
    """The command line of this file."""
    folder, first, count, names = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    signal.signal(signal.SIGALRM, stop)
    warnings.simplefilter("ignore")
    logging.disable()
    os.fsync = lambda _: None  # durable files are not what is tested here  # type: ignore[assignment]
    cases = all_cases()
    for name in names or cases:
        print(json.dumps({"begin": name}), flush=True)
        print(json.dumps(attack(cases[name], folder, first, count)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
