"""The commands that README and docs print, and how one is typed: in a folder, with the environment activated."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
PROGRAMS = (
    "mm3d", "make", "python", ".venv/bin/python", "dvc", "pip", "uv", "git", "pre-commit", "tensorboard", "export", ".",
)  # fmt: skip
FENCE = re.compile(r"^```(?P<head>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Printed:
    """One command of a page.

    Attributes:
        page: relative to the repository.
        line: as printed, continued lines joined, comment left out.
        fenced: in a block of its own; otherwise within a sentence, where it is often only mentioned.
    """

    page: str
    line: str
    fenced: bool


def commands_of(page: Path) -> list[Printed]:
    """Commands in blocks without a language or with ``sh``, and in sentences; in the order of the page, each once."""
    text, name = page.read_text(encoding="utf-8"), str(page.relative_to(ROOT))
    found = []
    for block in FENCE.finditer(text):
        if block["head"] in ("", "sh"):
            lines = block["text"].replace("\\\n", " ").splitlines()
            found += [Printed(name, bare(line), True) for line in lines if is_command(line)]
    for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)):
        if is_command(code) and len(code.split()) > 1:
            found.append(Printed(name, bare(code), False))
    return list(dict.fromkeys(found))


def is_command(line: str) -> bool:
    """Whether a line starts with a program, after settings of the environment."""
    words = [word for word in line.split() if not re.match(r"[A-Z_0-9]+=", word)]
    return bool(words) and words[0] in PROGRAMS


def bare(line: str) -> str:
    """A command without its comment."""
    return " ".join(re.sub(r"\s#.*$", "", line).split())


def run(command: str, folder: Path, statuses: tuple[int, ...] = (0,), home: Path | None = None) -> str:
    """Type a command in a folder, in a shell with the environment activated and nothing else set; what it printed.

    Args:
        home: a checkout whose packages are the installed ones; without it, those of this environment.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    if home is not None:  # stands for `make install` in that checkout
        packages = ("core", "backbones", "benchmarks")
        environment["PYTHONPATH"] = os.pathsep.join(str(home / "packages" / name) for name in packages)
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode in statuses, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
