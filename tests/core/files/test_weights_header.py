"""The header of a safetensors file: metadata are replaced and no tensor is touched; damage is one error."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mm3d_core.errors import UserError
from mm3d_core.files.weights_header import read_header, write_metadata


def test_a_header_changes_and_no_tensor_does(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1, 2, 3])}
    save_file(tensors, tmp_path / "a.safetensors", {"imported_from": "x"})
    told, _ = read_header(tmp_path / "a.safetensors")
    sha = write_metadata(tmp_path / "a.safetensors", {**told, "mm3dscene": '{"é": "\\n"}'})
    assert sha == hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()
    again = load_file(tmp_path / "a.safetensors")
    assert all(torch.equal(again[name], value) for name, value in tensors.items())
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata() == {"imported_from": "x", "mm3dscene": '{"é": "\\n"}'}


@pytest.mark.parametrize("damage", [b"", b"\x05", b"\xff" * 30, (2).to_bytes(8, "little") + b"[]"])
def test_a_damaged_header_is_one_error(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(damage)
    with pytest.raises(UserError, match="not a whole safetensors file"):
        read_header(tmp_path / "a.safetensors")
