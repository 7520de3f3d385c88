"""Bad input, kind by kind: the error names the file, and ``skip_broken`` prepares the rest and lists what it lacks."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mm3d_benchmarks.datasets.check import check_prepared
from mm3d_benchmarks.datasets.formats.ply import read_ply, write_ply
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.sunrgbd import SunRgbdReader
from mm3d_core.errors import UserError

Damage = Callable[[Path], object]
SCAN = "scene0001_00"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def nan_coordinates(path: Path) -> None:
    vertices, faces = read_ply(path)
    vertices = np.array(vertices)
    vertices["x"][5] = np.nan
    assert faces is not None
    write_ply(path, vertices, faces, "VCGLIB generated")


def no_return(path: Path) -> None:
    with Image.open(path) as image:
        Image.fromarray(np.zeros_like(np.asarray(image))).save(path)


def nan_point(path: Path) -> None:
    path.write_text("0 0 nan 1 2 3\n")


# dataset, file of one scene (pattern below its folder), damage
KINDS: list[tuple[str, str, Damage]] = [
    ("scannet", f"{SCAN}_vh_clean_2.ply", truncate),
    ("scannet", f"{SCAN}_vh_clean_2.ply", nan_coordinates),
    ("scannet", f"{SCAN}_vh_clean_2.ply", Path.unlink),
    ("scannet", f"{SCAN}_vh_clean_2.0.010000.segs.json", truncate),
    ("scannet", f"{SCAN}.aggregation.json", truncate),
    ("scannet", f"{SCAN}.aggregation.json", lambda path: path.write_text("")),
    ("scannet", f"{SCAN}.txt", Path.unlink),
    ("s3dis", "Annotations/floor_1.txt", lambda path: path.write_text("")),
    ("s3dis", "Annotations/floor_1.txt", nan_point),
    ("sunrgbd", "depth/*.png", truncate),
    ("sunrgbd", "depth/*.png", no_return),
    ("sunrgbd", "depth/*.png", Path.unlink),
    ("sunrgbd", "image/*.jpg", truncate),
]


def one_scene(dataset: str, raw: Path) -> tuple[str, Path]:
    """Name and folder of one scene among several."""
    if dataset == "scannet":
        return SCAN, raw / "scans" / SCAN
    if dataset == "s3dis":
        folder = next(path for path in sorted((raw / "Area_3").iterdir()) if path.is_dir())
        return f"Area_3_{folder.name}", folder
    reader = SunRgbdReader(raw)
    name = reader.splits()["train"][0]
    return name, next(path for path in reader.source_files(name) if path.suffix == ".png").parents[1]


@pytest.mark.parametrize(("dataset", "file", "damage"), KINDS)
def test_the_file_is_named_and_the_rest_is_prepared(
    dataset: str, file: str, damage: Damage, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    raw = Path(shutil.copytree(request.getfixturevalue(f"raw_{dataset}"), tmp_path / "raw"))
    name, folder = one_scene(dataset, raw)
    victim = next(iter(sorted(folder.glob(file))))
    damage(victim)
    with pytest.raises(UserError) as error:
        prepare_dataset(dataset, raw, tmp_path / "out", quiet=True)
    assert victim.name in str(error.value)
    assert "--skip-broken" in str(error.value)
    manifest = prepare_dataset(dataset, raw, tmp_path / "out", skip_broken=True, quiet=True).manifest
    assert list(manifest["left_out"]) == [name]
    assert victim.name in manifest["left_out"][name]
    assert name not in manifest["scenes"]
    assert all(name not in scenes for scenes in manifest["splits"].values())
    report = check_prepared(tmp_path / "out")
    assert report.problems == []
    assert f"left out: {name}" in report.text


def test_a_truncated_metadata_file_stops_all_frames_by_name(raw_sunrgbd: Path, tmp_path: Path) -> None:
    raw = Path(shutil.copytree(raw_sunrgbd, tmp_path / "raw"))
    truncate(raw / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBDMeta.mat")
    with pytest.raises(UserError, match=r"SUNRGBDMeta\.mat"):
        prepare_dataset("sunrgbd", raw, tmp_path / "out", skip_broken=True, quiet=True)


def test_labels_outside_the_table_and_flat_objects_cost_no_scene(raw_scannet: Path, tmp_path: Path) -> None:
    raw = Path(shutil.copytree(raw_scannet, tmp_path / "raw"))
    path = raw / "scans" / SCAN / f"{SCAN}.aggregation.json"
    groups = json.loads(path.read_text())
    groups["segGroups"][-1]["label"] = "flux capacitor"
    path.write_text(json.dumps(groups))
    manifest = prepare_dataset("scannet", raw, tmp_path / "out", quiet=True).manifest
    assert any("flux capacitor" in remark for remark in manifest["remarks"][SCAN])
    assert "labels outside the table" in check_prepared(tmp_path / "out").text


def test_preparation_holds_one_scene_at_a_time(raw_scannet: Path, tmp_path: Path) -> None:
    """Twelve copies of a scan need hardly more memory than one."""
    peaks = []
    for copies in (1, 12):
        raw = tmp_path / f"raw{copies}"
        shutil.copytree(raw_scannet, raw, ignore=shutil.ignore_patterns("scans"))
        names = [f"scene{n:04d}_00" for n in range(copies)]
        for name in names:
            for file in (raw_scannet / "scans" / "scene0000_00").iterdir():
                target = raw / "scans" / name / file.name.replace("scene0000_00", name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
        (raw / "scannetv2_train.txt").write_text("\n".join(names))
        (raw / "scannetv2_val.txt").write_text("scene0000_00")
        tracemalloc.start()
        prepare_dataset("scannet", raw, tmp_path / f"out{copies}", quiet=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.25 * peaks[0]
