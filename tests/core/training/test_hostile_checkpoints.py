"""Checkpoints and weights from anywhere: cut, flipped, swollen or poisoned, they never crash, run or fill memory."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import struct
import warnings
from pathlib import Path

import pytest
import torch

from mm3d_core.errors import UserError
from mm3d_core.training.checkpoint import CURRENT, MAGIC, load_checkpoint, read_weights, save_checkpoint, save_weights

STATE = {"step": 3, "module": {"weight": torch.arange(300.0)}, "optimizer": {"state": {0: {"m": torch.ones(30)}}}}


def mutated(data: bytes, seed: int) -> bytes:
    """One of several kinds of damage."""
    source, damaged = random.Random(seed), bytearray(data)
    kind = seed % 5
    if kind == 0:
        for _ in range(source.randint(1, 8)):
            damaged[source.randrange(len(damaged))] ^= 1 << source.randrange(8)
    elif kind == 1:
        del damaged[source.randrange(len(damaged)) :]
    elif kind == 2:
        at = source.randrange(len(damaged))
        damaged[at:at] = source.randbytes(source.randint(1, 64))
    elif kind == 3:
        at = source.randrange(max(1, len(damaged) - 8))
        damaged[at : at + 8] = struct.pack("<Q", source.choice([0, 2**31, 2**63, 2**64 - 1]))
    else:
        start = source.randrange(len(damaged))
        damaged[start : start + 100] = bytes(100)
    return bytes(damaged)


def check(read, data: bytes, folder: Path, file: str, seal: bool) -> None:
    """Reading damaged bytes gives the original's content or an error that names the file."""
    if seal:  # damage that somebody signed: the checksum fits, torch has to cope
        data = MAGIC + hashlib.sha256(data).hexdigest().encode() + b"\n" + data
    (folder / file).write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read()
        except UserError as error:
            message = str(error)
            assert file in message


def run_mutations(folder: Path, count: int) -> None:
    save_checkpoint(folder, STATE)
    whole = (folder / CURRENT).read_bytes()
    payload = whole[len(MAGIC) + 65 :]
    save_weights(folder / "w.safetensors", STATE["module"])
    weights = (folder / "w.safetensors").read_bytes()
    for seed in range(count):
        check(lambda: load_checkpoint(folder), mutated(whole, seed), folder, CURRENT, seal=False)
        check(lambda: load_checkpoint(folder), mutated(payload, seed), folder, CURRENT, seal=True)
        check(
            lambda: read_weights(folder / "w.safetensors"), mutated(weights, seed), folder, "w.safetensors", seal=False
        )


def test_a_hundred_kinds_of_damage_end_in_a_message_or_the_truth(tmp_path: Path):
    run_mutations(tmp_path, 100)


@pytest.mark.short
@pytest.mark.slow
def test_two_thousand_kinds_of_damage_end_in_a_message_or_the_truth(tmp_path: Path):
    run_mutations(tmp_path, 2000)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_no_pickle_is_run_whatever_its_protocol(tmp_path: Path, protocol: int):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    payload = pickle.dumps({"step": Bomb()}, protocol=protocol)
    digest = hashlib.sha256(payload).hexdigest().encode()
    (tmp_path / CURRENT).write_bytes(MAGIC + digest + b"\n" + payload)
    with warnings.catch_warnings(), pytest.raises(UserError, match="cannot be read"):
        warnings.simplefilter("ignore")
        load_checkpoint(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_a_header_that_promises_too_much_takes_no_memory(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    promise = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    path.write_bytes(struct.pack("<Q", len(promise)) + promise)
    with pytest.raises(UserError, match=r"w\.safetensors"):
        read_weights(path)
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(UserError, match=r"w\.safetensors"):
        read_weights(path)


# ----------------------------------------------------------------------------- failing disks


@pytest.mark.parametrize("site", ["mkstemp", "write", "fsync", "replace"])
@pytest.mark.parametrize("number", [28, 13, 30])  # disk full, permission denied, read-only file system
def test_a_failing_disk_at_any_point_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, number: int
):
    from mm3d_core.files import atomic

    save_checkpoint(tmp_path, {"step": 1})

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    if site == "mkstemp":
        monkeypatch.setattr(atomic.tempfile, "mkstemp", fail)
    elif site == "write":
        monkeypatch.setattr(atomic.os, "fdopen", lambda descriptor, *_, **__: ShortDisk(descriptor, number))
    else:
        monkeypatch.setattr(atomic.os, site, fail)
    with pytest.raises(UserError, match=r"checkpoint\.pt"):
        save_checkpoint(tmp_path, {"step": 2})
    monkeypatch.undo()
    assert load_checkpoint(tmp_path) == {"step": 1}
    assert not list(tmp_path.glob(".*"))


class ShortDisk:
    """A file on a disk that takes a hundred bytes."""

    def __init__(self, descriptor: int, number: int) -> None:
        self.descriptor, self.number, self.room = descriptor, number, 100

    def __enter__(self) -> ShortDisk:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def write(self, data: bytes) -> int:
        taken = os.write(self.descriptor, bytes(data)[: self.room])
        self.room -= taken
        if taken < len(data):
            raise OSError(self.number, os.strerror(self.number))
        return taken

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        return self.descriptor
