"""A user's own scans: every format gives the same scene; wrong layouts are explained."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mm3d_benchmarks.datasets.formats.pcd import decompress_lzf, read_pcd, unpack_color
from mm3d_benchmarks.datasets.formats.ply import write_ply
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.readers.folder import FolderReader
from mm3d_core.errors import UserError

COORD = np.array([[0, 0, 0], [1, 2, 3], [-1, 0.5, 2]], np.float32)
COLOR = np.array([[0, 128, 255], [10, 20, 30], [255, 0, 1]], np.uint8)
TABLE = np.hstack([COORD, COLOR.astype(np.float32)])


def pcd(path: Path, layout: str) -> None:
    packed = (COLOR.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)).astype(np.uint32)
    head = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 1\n"
        f"WIDTH 3\nHEIGHT 1\nPOINTS 3\nDATA {layout}\n"
    )
    rows = np.empty(3, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])
    rows["x"], rows["y"], rows["z"], rows["rgb"] = *COORD.T, packed
    if layout == "ascii":
        body = "\n".join(f"{x} {y} {z} {c}" for x, y, z, c in rows.tolist()).encode() + b"\n"
    elif layout == "binary":
        body = rows.tobytes()
    else:
        plain = b"".join(rows[n].tobytes() for n in ("x", "y", "z", "rgb"))
        literal = b"".join(bytes([len(c) - 1]) + c for c in (plain[i : i + 32] for i in range(0, len(plain), 32)))
        body = struct.pack("<II", len(literal), len(plain)) + literal
    path.write_bytes(head.encode() + body)


def write(path: Path, kind: str) -> None:
    if kind == "ply":
        table = np.empty(3, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])
        for i, name in enumerate(table.dtype.names or ()):
            table[name] = TABLE[:, i]
        write_ply(path / "a.ply", table)
    elif kind.startswith("pcd"):
        pcd(path / "a.pcd", kind.split()[1])
    elif kind == "npy":
        np.save(path / "a.npy", TABLE.astype(np.float64))
    elif kind == "npz":
        np.savez(path / "a.npz", coord=COORD, color=COLOR)
    elif kind == "npz table":
        np.savez(path / "a.npz", pc=TABLE)
    else:
        TABLE.astype("<f4").tofile(path / "a.bin")


@pytest.mark.parametrize(
    "kind", ["ply", "pcd ascii", "pcd binary", "pcd binary_compressed", "npy", "npz", "npz table", "bin"]
)
def test_every_format_gives_the_same_scene(tmp_path: Path, kind: str) -> None:
    write(tmp_path, kind)
    scene = FolderReader(tmp_path, columns="x y z r g b").read("a").scene
    np.testing.assert_array_equal(scene.coord, COORD)
    np.testing.assert_array_equal(scene.color, COLOR)
    assert scene.segment is None


def test_repeated_bytes_of_lzf_may_overlap() -> None:
    assert decompress_lzf(bytes([0, 65, 0xE0, 3, 0]), 13) == b"A" * 13
    with pytest.raises(ValueError, match="not 5"):
        decompress_lzf(bytes([0, 65]), 5)


def test_packed_colors_may_be_floats() -> None:
    bits = np.array([0x00FF8001], np.uint32)
    np.testing.assert_array_equal(unpack_color(bits.view(np.float32)), [[255, 128, 1]])


@pytest.mark.parametrize(("scale", "low"), [(255, 0), (1, 0), (1, -1)])
def test_color_ranges_are_recognized(tmp_path: Path, scale: int, low: int) -> None:
    color = COLOR / 255 * (1 - low) + low if scale == 1 else COLOR
    np.save(tmp_path / "a.npy", np.hstack([COORD, color]).astype(np.float32))
    scene = FolderReader(tmp_path, columns="x,y,z,r,g,b").read("a").scene
    np.testing.assert_array_equal(scene.color, COLOR)


def test_y_up_in_millimetres_becomes_z_up_in_metres(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1000.0, 2000.0, -3000.0]]))
    scene = FolderReader(tmp_path, columns="x y z", up="y", scale=0.001).read("a").scene
    np.testing.assert_allclose(scene.coord, [[1, 3, 2]])


def test_missing_returns_are_dropped_and_reported(tmp_path: Path) -> None:
    table = TABLE.copy()
    table[1, 0] = np.nan
    np.save(tmp_path / "a.npy", table)
    read = FolderReader(tmp_path, columns="x y z r g b").read("a")
    assert read.scene.num_points == 2
    assert read.remarks == ["1 rows without finite coordinates dropped", "colors taken as 0..255 (float32)"]


def test_wrong_column_counts_name_the_file_and_the_remedy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", TABLE)
    with pytest.raises(BrokenSceneError, match=r"a\.npy.*4 columns.*correct columns"):
        FolderReader(tmp_path, columns="x y z r").read("a")
    np.save(tmp_path / "a.npy", TABLE[:, :4])
    with pytest.raises(UserError, match=r"a\.npy.*say what its columns are"):
        FolderReader(tmp_path).read("a")


@pytest.mark.parametrize(
    "options", [{"columns": "x y"}, {"columns": "x y z q"}, {"up": "w"}, {"scale": 0}, {"color_range": -1}]
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict) -> None:
    write(tmp_path, "npy")
    with pytest.raises(UserError):
        FolderReader(tmp_path, **options)


def test_an_empty_folder_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"put \.ply"):
        FolderReader(tmp_path)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"evil": 1}], object), allow_pickle=True)
    with pytest.raises(BrokenSceneError, match=r"a\.npy"):
        FolderReader(tmp_path, columns="x y z").read("a")


def test_a_truncated_pcd_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "pcd binary")
    content = (tmp_path / "a.pcd").read_bytes()
    (tmp_path / "a.pcd").write_bytes(content[:-5])
    with pytest.raises(BrokenSceneError, match=r"a\.pcd"):
        read_pcd(tmp_path / "a.pcd")


def test_scans_in_subfolders_get_names_of_their_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "npy")
    prepared = prepare_dataset("folder", tmp_path, tmp_path / "out", options={"columns": "x y z r g b"}, quiet=True)
    assert prepared.scenes("train") == ["one_a", "two_a"]
    assert prepared.manifest["origin"]["kind"] == "user"


@pytest.mark.parametrize("file", ["&.ply", "manifest.json.ply", "sources.json.ply", "a..ply", "客厅 (1), März #1.ply"])
def test_a_file_of_any_name_becomes_a_scene_inside_of_the_target(tmp_path: Path, file: str) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "x").mkdir()
    write(tmp_path / "raw", "ply")
    (tmp_path / "raw/a.ply").rename(tmp_path / "raw" / file)
    data = prepare_dataset("folder", tmp_path / "raw", tmp_path / "x/out", quiet=True)
    assert len(data.scenes("train")) == 1
    assert {path.name for path in (tmp_path / "x").iterdir()} <= {"out"}
    assert {path.name for path in tmp_path.iterdir()} <= {"x", "raw"}


def test_files_whose_names_come_out_alike_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, "ply")
    for name in ("a b.ply", "a?b.ply", "a!b.ply", "A B.ply"):
        (tmp_path / name).write_bytes((tmp_path / "a.ply").read_bytes())
    names = list(FolderReader(tmp_path).files)
    assert len({name.casefold() for name in names}) == 5
    assert all(name == "a" or name.casefold().startswith("a_b") for name in names)
