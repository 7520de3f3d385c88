"""A partial download: all that is missing is listed with counts, and nothing is read."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.datasets.scans.made import mm3d, s3dis, scannet


def missing(dataset: str, raw: Path, tmp_path: Path) -> tuple[int, list[str]]:
    done = mm3d("prepare", f"dataset={dataset}", f"raw={raw}", "out=out", "--check-raw", cwd=tmp_path)
    assert done.stderr == ""
    assert not (tmp_path / "out").exists()
    return done.returncode, done.stdout.splitlines()


def test_scannet(tmp_path: Path) -> None:
    names = [f"scene000{i}_00" for i in range(5)]
    raw = scannet(tmp_path / "in", names)
    (raw / "scannetv2_train.txt").write_text("\n".join(names[:4]) + "\n")
    assert missing("scannet", raw, tmp_path) == (0, [f"{raw}: nothing is missing of scannet"])
    shutil.rmtree(raw / "scans" / names[0])
    (raw / "scans" / names[1] / f"{names[1]}.aggregation.json").unlink()
    (raw / "scans" / names[2] / f"{names[2]}.aggregation.json").unlink()
    (raw / "scans" / names[4] / f"{names[4]}_vh_clean_2.ply").write_text("")
    status, lines = missing("scannet", raw, tmp_path)
    assert status == 1
    assert lines[1:] == [
        "  train: 2 of 4 scenes (scene0001_00, scene0002_00) without *.aggregation.json",
        "  train: 1 of 4 scenes (scene0000_00) without folder",
        "  val: 1 of 1 scenes (scene0004_00) without content of *_vh_clean_2.ply",
    ]
    for file in ("scannetv2-labels.combined.tsv", "scannetv2_val.txt"):
        (raw / file).unlink()
    lines = missing("scannet", raw, tmp_path)[1]
    assert [file in " ".join(lines) for file in ("combined.tsv", "_val.txt", "_train.txt")] == [True, True, False]


def test_s3dis(tmp_path: Path) -> None:
    raw = s3dis(tmp_path / "in")
    (raw / "Area_1/office_3").mkdir()
    lines = missing("s3dis", raw, tmp_path)[1]
    assert "  Area_1: 2 of 44 rooms" in lines
    assert "  Area_1: 1 of 2 rooms (office_3) without Annotations" in lines
    assert "  Area_6: not there (48 rooms)" in lines


def test_sun_rgbd(raw_sunrgbd: Path, tmp_path: Path) -> None:
    raw = Path(shutil.copytree(raw_sunrgbd, tmp_path / "in"))
    assert missing("sunrgbd", raw, tmp_path)[0] == 0
    for depth in sorted(raw.rglob("depth/*.png"))[:2]:
        depth.unlink()
    assert any("without depth/*.png" in line for line in missing("sunrgbd", raw, tmp_path)[1])
    for mat in (*raw.rglob("SUNRGBDMeta.mat"), *raw.rglob("allsplit.mat")):
        mat.unlink()
    lines = " ".join(missing("sunrgbd", raw, tmp_path)[1])
    assert "SUNRGBDMeta.mat: not found" in lines
    assert "allsplit.mat: not found" in lines
