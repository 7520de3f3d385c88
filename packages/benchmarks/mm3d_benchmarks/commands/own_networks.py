"""``mm3d features``, ``mm3d predict``, and ``mm3d view`` of features: a trained network on scans of one's own."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.commands.data import key_values
from mm3d_benchmarks.datasets.formats.arrays import read_array
from mm3d_benchmarks.datasets.scans.discover import find_scans
from mm3d_benchmarks.pretrained.network import Network, load
from mm3d_benchmarks.pretrained.scans import Points, Reading, read_points
from mm3d_benchmarks.pretrained.seeds import placed
from mm3d_benchmarks.store.store import Store
from mm3d_benchmarks.viewing.pca import pca_colors
from mm3d_benchmarks.viewing.predictions import save_boxes, save_features, save_segmentation
from mm3d_core.errors import UserError

DENSE = ("voxel", "max_points", "every_point")  # settings of features and classes


def features(options: argparse.Namespace) -> int:
    """Write the features of one scan."""
    settings = key_values(options.settings)
    scan, out = _taken(settings, "features", "scan"), Path(_taken(settings, "features", "out"))
    level = settings.pop("level", "finest")
    network, how = _network(settings, options.store, "features", DENSE)
    start = time.monotonic()
    found = network.features(scan, level=level, out=out, **how)
    print(f"{out}: {found.shape[0]:,} points x {found.shape[1]} features, {time.monotonic() - start:.1f} s")
    return 0


def predict(options: argparse.Namespace) -> int:
    """Write what a model says of one scan, or of each scan of a folder."""
    settings = key_values(options.settings)
    scan, out = Path(_taken(settings, "predict", "scan")), Path(_taken(settings, "predict", "out"))
    settings_of_task = (*DENSE, "min_score", "tile", "seed")
    network, how = _network(settings, options.store, "predict", settings_of_task)
    holds = network.description.holds
    if holds == "encoder":
        raise UserError(
            f"{network.source}: is a pre-trained encoder, which predicts no classes: take a fine-tuned model, or look "
            f"at its features: mm3d view run=... scan={scan} out={out}"
        )
    if not scan.exists():
        raise UserError(f"scan={scan}: there is no such file or folder; correct the path")
    reading = {name: how.pop(name) for name in list(how) if name in Reading.__annotations__}
    for name, path in find_scans(scan).files.items():
        points = read_points(path, None, None, network.description.inputs, reading)
        write = _segment if holds == "segmentation" else _detect
        for file in write(network, points, out, name, how):
            print(file)
    return 0


def view_features(settings: dict[str, Any], store: Path) -> int:
    """Write a page and pictures of a scan in the colors of its features."""
    scan, out = Path(_taken(settings, "view", "scan")), Path(settings.pop("out", "view"))
    if "features" in settings:
        file = Path(settings.pop("features"))
        reading = _reading(settings, "view")
        points = read_points(scan, None, None, (), reading)
        try:
            found = np.load(file, mmap_mode="r", allow_pickle=False) if file.suffix == ".npy" else read_array(file)
        except (OSError, ValueError) as error:
            raise UserError(f"features={file}: cannot be read ({error}); write them with mm3d features") from error
        if found.ndim != 2 or len(found) != points.count:
            raise UserError(
                f"features={file}: is {found.shape}, {scan} has {points.count} points; a row each is needed"
            )
    else:
        level = settings.pop("level", "finest")
        network, how = _network(settings, store, "view", DENSE)
        reading = {name: how.pop(name) for name in list(how) if name in Reading.__annotations__}
        points = read_points(scan, None, None, network.description.inputs, reading)
        found = network.features(points, level=level, **how)
    for file in save_features(out, scan.stem, points.scene, pca_colors(found[points.rows])):
        print(file)
    return 0


def _segment(network: Network, points: Points, out: Path, name: str, how: dict[str, Any]) -> list[Path]:
    options = {key: how[key] for key in how if key in DENSE}
    segment, shares = network.segment(points, probabilities=True, **options)
    told = network.description
    return save_segmentation(
        out, name, points.scene, points.rows, segment, shares[points.rows].max(axis=1), told.classes, told.colors
    )


def _detect(network: Network, points: Points, out: Path, name: str, how: dict[str, Any]) -> list[Path]:
    options = {key: how[key] for key in how if key in ("min_score", "tile", "seed")}
    boxes = network.detect(points, **options)
    if not len(boxes):
        print(f"{name}: no box scores {options.get('min_score', 0.5)} or more; min_score=0.2, say, shows weaker ones")
    here = placed(boxes, points.scene.offset)
    rows = np.concatenate([here.centers, here.sizes, here.headings[:, None], here.classes[:, None]], axis=1)
    return save_boxes(out, name, points.scene, rows.astype(np.float32), boxes.to_json(), boxes.names)


def _network(
    settings: dict[str, Any], store: Path, command: str, known: tuple[str, ...]
) -> tuple[Network, dict[str, Any]]:
    """The network that the settings name, and how to show it scans; every setting must be one of those."""
    source = _taken(settings, command, "run")
    device, modules = str(settings.pop("device", "auto")), str(settings.pop("modules", "")).replace(",", " ").split()
    how = {name: settings.pop(name) for name in known if name in settings}
    how |= _reading(settings, command)
    path = Path(source)
    if not path.exists() and path.suffix == "" and len(path.parts) == 1:
        path = Store(store).find(source).folder
    return load(path, device, modules), how


def _reading(settings: dict[str, Any], command: str) -> Reading:
    reading = {name: settings.pop(name) for name in Reading.__annotations__ if name in settings}
    if settings:
        raise UserError(f"{sorted(settings)[0]}=: unknown; see mm3d {command} --help")
    return reading  # pyright: ignore[reportReturnType]


def _taken(settings: dict[str, Any], command: str, name: str) -> str:
    value = settings.pop(name, None)
    if value in (None, ""):
        example = {"features": "out=features.npy", "predict": "out=predictions", "view": "out=view"}[command]
        raise UserError(f"say {name}=: mm3d {command} run=KEY|FILE scan=room.ply {example}")
    return str(value)
