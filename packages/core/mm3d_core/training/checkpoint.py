"""Checkpoints that survive a kill at any moment, and weights that say what was loaded.

A checkpoint is one file: a header line with a SHA-256, then torch's own format, read with ``weights_only=True``. The
previous one stays beside it until the next is safely on disk, so there is always a whole one. Weights for others are
safetensors.
"""

from __future__ import annotations

import hashlib
import io
import math
import mmap
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from mm3d_core.errors import UserError
from mm3d_core.files.atomic import atomic_write

CURRENT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
MAGIC = b"mm3d-checkpoint-1 "
HEADER_SIZE = len(MAGIC) + 64 + 1  # magic, SHA-256 in hexadecimal, line end


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Make ``state`` (tensors and plain containers) the folder's current checkpoint, and the former the previous.

    Raises:
        UserError: the disk is full or the folder cannot be written; the former checkpoint is untouched.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    payload = buffer.getbuffer()
    current = folder / CURRENT
    with atomic_write(current) as stream:
        stream.write(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n")
        stream.write(payload)
        stream.flush()
        os.fsync(stream.fileno())  # the new one is whole on disk before the old one moves
        if current.exists():
            os.replace(current, folder / PREVIOUS)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint of a folder, or None when there has never been one.

    A damaged current checkpoint falls back to the previous with a warning.

    Raises:
        UserError: checkpoints exist, but none is whole.
    """
    damage = []
    for path in (folder / CURRENT, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            state = _read(path)
        except ValueError as error:
            damage.append(f"{path}: {error}")
            continue
        if damage:
            warnings.warn(f"{damage[0]}; continuing from the previous checkpoint {path.name}", stacklevel=2)
        return state
    if damage:
        raise UserError("; ".join(damage) + "; no whole checkpoint is left: delete these files to start this run again")
    return None


def drop_previous(folder: Path) -> None:
    """Delete the previous checkpoint (a finished training needs one)."""
    (folder / PREVIOUS).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """Verify and read one checkpoint; ValueError says how it is damaged."""
    try:
        with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[: len(MAGIC)] != MAGIC:
                raise ValueError("is damaged or not a checkpoint of this project")
            payload = io.BytesIO(memoryview(data)[HEADER_SIZE:])
            if hashlib.sha256(payload.getbuffer()).hexdigest().encode() != data[len(MAGIC) : HEADER_SIZE - 1]:
                raise ValueError("is damaged (its checksum does not fit its content)")
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    state = read_tensors(payload)
    if not isinstance(state, dict):
        raise ValueError("does not hold a training state")
    return state


def read_tensors(source: Path | io.BytesIO, also: Sequence[Any] = ()) -> Any:
    """What ``torch.save`` wrote, of tensors and plain containers alone; nothing is unpickled.

    Args:
        also: further harmless types that may occur, as ``torch.serialization.safe_globals`` takes them.

    Raises:
        ValueError: damaged, with other things in it, or with tensors larger than the file.
    """
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise ValueError("compressed, which torch never does")
        if isinstance(source, io.BytesIO):
            source.seek(0)
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(also)):
            warnings.simplefilter("ignore")  # about newer pickle protocols, which fail with an error anyway
            content = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever zipfile and torch make of foreign bytes
        raise ValueError(f"cannot be read ({type(error).__name__}: {str(error).split(chr(10))[0][:200]})") from error
    for tensor in _tensors(content):
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_nested:
            raise ValueError("holds tensors that are not plain")
        if math.prod(tensor.shape) * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"promises a tensor of {tuple(tensor.shape)}, which is not in it")
    return content


def _tensors(content: Any) -> Iterator[Tensor]:
    """All tensors in nested containers, each container once and without recursion."""
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Mapping | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, Mapping) else value)


# ----------------------------------------------------------------------------- weights


@dataclass(frozen=True)
class LoadReport:
    """What a load took over: tensor names, sorted.

    Attributes:
        loaded: copied into the module.
        fresh: the module's tensors that the file does not have; they keep their initial values.
        unused: the file's tensors that the module does not have.
        mismatched: in both, with different shapes; not copied.
    """

    source: str
    loaded: list[str]
    fresh: list[str]
    unused: list[str]
    mismatched: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)

    def describe(self) -> str:
        """A few lines for people: counts, and the names of everything that was not taken over."""
        lines = [f"{self.source}: {len(self.loaded)} tensors loaded"]
        for title, names in (("not in the file, fresh", self.fresh), ("in the file, unused", self.unused)):
            lines.append(f"  {title}: {len(names)}" + _some(names))
        if self.mismatched:
            lines.append(f"  of another shape, not loaded: {len(self.mismatched)}" + _some(self.mismatched))
        return "\n".join(lines)


def save_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as a safetensors file in one step; equal tensors give equal bytes.

    Raises:
        UserError: as :func:`mm3d_core.files.atomic.atomic_write`.
    """
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in sorted(weights.items())}
    with atomic_write(path) as stream:
        stream.write(safetensors.torch.save(whole, dict(metadata or {})))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        UserError: the file is missing, damaged or of another kind.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such weights file; run the pre-training that writes it, or correct the path"
        )
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{path}: is not a whole safetensors file ({error}); restore it or run its training again"
        ) from error


def load_weights(module: nn.Module, path: Path, strict: bool = True) -> LoadReport:
    """Copy a file's tensors into ``module`` by name.

    Args:
        strict: every tensor of the file and of the module must find its partner of the same shape.

    Raises:
        UserError: no such file, damaged, or (strict) of another network; nothing is loaded then.
    """
    theirs, ours = read_weights(path), module.state_dict()
    shared = theirs.keys() & ours.keys()
    fitting = {name for name in shared if theirs[name].shape == ours[name].shape}
    report = LoadReport(
        source=path.name,
        loaded=sorted(fitting),
        fresh=sorted(ours.keys() - theirs.keys()),
        unused=sorted(theirs.keys() - ours.keys()),
        mismatched=sorted(shared - fitting),
    )
    if (strict and (report.fresh or report.unused or report.mismatched)) or not fitting:
        raise UserError(
            f"{path}: holds the weights of another network than {type(module).__name__}\n{report.describe()}\n"
            "choose the checkpoint that belongs to this backbone and its options"
        )
    module.load_state_dict({name: theirs[name] for name in fitting}, strict=False)
    return report


def _some(names: list[str], limit: int = 6) -> str:
    if not names:
        return ""
    return " (" + ", ".join(names[:limit]) + (f", and {len(names) - limit} more" if len(names) > limit else "") + ")"
