"""atomic: a file is whole or absent, whatever happens while it is written."""

from __future__ import annotations

import errno
import os

import pytest

from mm3d_core.errors import UserError
from mm3d_core.files import atomic


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "metrics.json"
    atomic.write_text(path, "old")
    with pytest.raises(RuntimeError), atomic.atomic_write(path, "w") as stream:
        stream.write("half of the ne")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["metrics.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_one_clear_error_that_names_the_file(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, call, full)
    with pytest.raises(UserError, match=r"metrics\.json.*No space left"):
        atomic.write_text(tmp_path / "metrics.json", "text")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="runs"):
        atomic.write_text(tmp_path / "runs" / "metrics.json", "text")


def test_unchanged_text_is_not_written_again(tmp_path):
    path = tmp_path / "table.csv"
    assert atomic.write_text_if_changed(path, "a,b\n")
    before = path.stat().st_mtime_ns
    assert not atomic.write_text_if_changed(path, "a,b\n")
    assert path.stat().st_mtime_ns == before


def test_json_refuses_what_json_cannot_say(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(tmp_path / "metrics.json", {"mIoU": float("nan")})
    assert os.listdir(tmp_path) == []


def test_the_file_has_the_mode_that_the_umask_allows(tmp_path):
    atomic.write_text(tmp_path / "log.jsonl", "")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "log.jsonl").stat().st_mode & 0o777 == 0o666 & ~mask
