"""Checkpoints: whole or absent, with the previous one to fall back on; weights say what was loaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from mm3d_core.errors import UserError
from mm3d_core.training import checkpoint
from mm3d_core.training.checkpoint import (
    CURRENT,
    PREVIOUS,
    drop_previous,
    load_checkpoint,
    load_weights,
    read_weights,
    save_checkpoint,
    save_weights,
)


def test_there_is_nothing_to_load_before_the_first_save(tmp_path: Path):
    assert load_checkpoint(tmp_path) is None


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path):
    state = {"step": 3, "values": torch.rand(5), "nested": {"list": [1, 2.5, "three", None]}}
    save_checkpoint(tmp_path, state)
    back = load_checkpoint(tmp_path)
    assert back is not None
    assert torch.equal(back.pop("values"), state.pop("values"))
    assert back == state


def damage_flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])


DAMAGES = [damage_flip, damage_cut, damage_empty, damage_header]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_previous_with_a_warning(tmp_path: Path, damage):
    save_checkpoint(tmp_path, {"step": 1})
    save_checkpoint(tmp_path, {"step": 2})
    damage(tmp_path / CURRENT)
    with pytest.warns(UserWarning, match=r"checkpoint\.pt.*previous"):
        state = load_checkpoint(tmp_path)
    assert state == {"step": 1}


def test_a_kill_between_the_two_renames_leaves_the_previous(tmp_path: Path):
    save_checkpoint(tmp_path, {"step": 1})
    (tmp_path / CURRENT).rename(tmp_path / PREVIOUS)
    assert load_checkpoint(tmp_path) == {"step": 1}


def test_without_any_whole_checkpoint_the_user_is_told_what_to_delete(tmp_path: Path):
    save_checkpoint(tmp_path, {"step": 1})
    damage_flip(tmp_path / CURRENT)
    with pytest.raises(UserError, match="delete these files"):
        load_checkpoint(tmp_path)


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_checkpoint(tmp_path, {"step": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(tmp_path, {"step": 2})
    monkeypatch.undo()
    assert load_checkpoint(tmp_path) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == [CURRENT]


def test_a_pickle_is_not_executed(tmp_path: Path):
    import hashlib
    import pickle

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    payload = pickle.dumps(Bomb(), protocol=2)
    digest = hashlib.sha256(payload).hexdigest().encode()
    (tmp_path / CURRENT).write_bytes(checkpoint.MAGIC + digest + b"\n" + payload)
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_the_previous_can_be_dropped(tmp_path: Path):
    save_checkpoint(tmp_path, {"step": 1})
    save_checkpoint(tmp_path, {"step": 2})
    drop_previous(tmp_path)
    assert not (tmp_path / PREVIOUS).exists()


# ----------------------------------------------------------------------------- weights


def test_equal_weights_give_equal_bytes(tmp_path: Path):
    weights = {"b": torch.ones(2), "a": torch.zeros(3, dtype=torch.int64)}
    save_weights(tmp_path / "1", weights)
    save_weights(tmp_path / "2", dict(reversed(weights.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_strict_load_takes_every_tensor_and_says_so(tmp_path: Path):
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    save_weights(tmp_path / "w.safetensors", source.state_dict())
    report = load_weights(target, tmp_path / "w.safetensors")
    assert report.loaded == ["bias", "weight"]
    assert report.fresh == report.unused == report.mismatched == []
    assert torch.equal(target.weight, source.weight)


def test_foreign_weights_are_refused_and_nothing_is_loaded(tmp_path: Path):
    target = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    before = {name: value.clone() for name, value in target.state_dict().items()}
    save_weights(tmp_path / "w.safetensors", {"0.weight": torch.ones(2, 3), "other": torch.ones(1)})
    with pytest.raises(UserError, match=r"w\.safetensors: holds the weights of another network") as error:
        load_weights(target, tmp_path / "w.safetensors")
    assert "other" in str(error.value)
    assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())


def test_a_loose_load_names_what_was_left(tmp_path: Path):
    target = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    save_weights(
        tmp_path / "w.safetensors", {"0.weight": torch.ones(2, 3), "0.bias": torch.ones(5), "other": torch.ones(1)}
    )
    report = load_weights(target, tmp_path / "w.safetensors", strict=False)
    assert (report.loaded, report.mismatched, report.unused) == (["0.weight"], ["0.bias"], ["other"])
    assert report.fresh == ["1.bias", "1.weight"]
    assert "0.bias" in report.describe()


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff" * 100])
def test_missing_or_damaged_weights_are_named(tmp_path: Path, content: bytes | None):
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"w\.safetensors"):
        read_weights(path)
