"""What preparation asks of a data set's reader, and the error of a scene that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_core.errors import UserError


class BrokenSceneError(UserError):
    """One scene's files are missing or damaged; ``--skip-broken`` prepares the others."""


@contextmanager
def reading(
    path: Path,
    what: str = "damaged",
    remedy: str = "export it again",
    kinds: tuple[type[Exception], ...] = (ValueError,),
    error: type[UserError] = BrokenSceneError,
) -> Iterator[None]:
    """Turn what reading a file raises into one error that names it.

    Args:
        what: is said of a file whose content raises one of ``kinds``.
        remedy: what to do about it.
        error: the class of the error; ``UserError`` for files of a whole release.
    """
    try:
        yield
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason}); {remedy}") from reason
    except kinds as reason:
        raise error(f"{path}: {what} ({reason}); {remedy}") from reason


@dataclass(frozen=True)
class ReadScene:
    """A scene, and what had to be repaired or left out to read it (for the manifest)."""

    scene: Scene
    remarks: list[str] = field(default_factory=list)


class Reader(Protocol):
    """Reads one release of one data set; a class of its own inherits what few releases have.

    Attributes:
        facts: the data set's classes and published statistics.
        options: what else the prepared bytes depend on (JSON values); a change prepares the scenes again.
    """

    facts: DatasetFacts
    options: dict[str, Any]

    def splits(self) -> dict[str, list[str]]:
        """Scene names of each split. A scene may be in several splits."""
        ...

    def source_files(self, name: str) -> list[Path]:
        """The files from which a scene is read; a change of their content prepares the scene again."""
        ...

    def shared_files(self, name: str) -> list[Path]:
        """Files for many scenes that this one is read with (label tables, metadata); a change prepares it again."""
        del name
        return []

    def notes(self) -> list[str]:
        """What of the raw data no scene is made from, with counts, one sentence each."""
        return []

    def read(self, name: str) -> ReadScene:
        """Read one scene.

        Raises:
            BrokenSceneError: naming the file that is missing or damaged.
        """
        ...
