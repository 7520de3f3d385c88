"""A made-up room and made-up runs that left pictures of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def room(points: int = 6000, seed: int = 0) -> dict[str, np.ndarray]:
    """coord, color, segment (0 floor, 1 wall, 2 table, 3 chair) and statistic of a room with a table and a chair."""
    rng = np.random.default_rng(seed)
    parts = [
        (0, rng.uniform([0, 0, 0], [4, 3, 0], (points // 3, 3)), (0.6, 0.5, 0.4)),
        (1, rng.uniform([0, 3, 0], [4, 3, 2.6], (points // 6, 3)), (0.8, 0.8, 0.75)),
        (1, rng.uniform([0, 0, 0], [0, 3, 2.6], (points // 6, 3)), (0.75, 0.8, 0.8)),
        (2, rng.uniform([1.5, 1.2, 0.72], [2.9, 2.0, 0.75], (points // 6, 3)), (0.5, 0.3, 0.15)),
        (3, rng.uniform([1.9, 0.4, 0.0], [2.4, 0.9, 0.9], (points // 6, 3)), (0.2, 0.3, 0.6)),
    ]
    coord = np.concatenate([p for _, p, _ in parts]).astype(np.float32)
    segment = np.concatenate([np.full(len(p), label) for label, p, _ in parts]).astype(np.int64)
    color = np.concatenate([np.tile(c, (len(p), 1)) for _, p, c in parts]) + rng.normal(0, 0.03, coord.shape)
    statistic = np.where(segment >= 2, 1.0, 0.2) + rng.uniform(0, 0.2, len(coord))
    color = np.clip(color, 0, 1).astype(np.float32)
    return {"coord": coord, "color": color, "segment": segment, "statistic": statistic.astype(np.float32)}


def pretrain_picture(seed: int = 0) -> dict[str, np.ndarray]:
    """What a pre-training run leaves: statistic, masked input, target, reconstruction."""
    scan = room(seed=seed)
    order = np.argsort(-scan["statistic"], kind="stable")
    count = len(order)
    rng = np.random.default_rng(seed + 1)
    target = scan["coord"][order[: int(0.6 * count)]]
    return {
        "scan": scan["coord"],
        "scan_color": scan["color"],
        "statistic": scan["statistic"],
        "input": scan["coord"][order[: int(0.4 * count)]],
        "input_rows": order[: int(0.4 * count)],
        "target": target,
        "reconstruction_level0": (target + rng.normal(0, 0.02, target.shape)).astype(np.float32),
    }


def prediction_picture(error: float, seed: int = 0) -> dict[str, np.ndarray]:
    """What an evaluation leaves: labels and predictions, wrong for the given share of points."""
    scan = room(seed=seed)
    rng = np.random.default_rng(seed + 2)
    wrong = rng.random(len(scan["segment"])) < error
    prediction = np.where(wrong, rng.integers(0, 4, len(wrong)), scan["segment"])
    names = np.array(["floor", "wall", "table", "chair"])
    return {**scan, "prediction": prediction, "class_names": names}


def write_run(
    store: Path,
    key: str,
    kind: str = "evaluate",
    metrics: dict | None = None,
    upstream: dict | None = None,
    pictures: dict[str, dict[str, np.ndarray]] | None = None,
    steps: int = 40,
) -> None:
    """A finished run's folder."""
    folder = store / key
    folder.mkdir(parents=True, exist_ok=True)
    config = {"backbone": {"name": "point_transformer"}, "pretrain": {"name": "mm3dscene"}, "seed": 0}
    spec = {"kind": kind, "config": config, "upstream": upstream or {}, "data": {}, "code": "", "local": {}}
    (folder / "spec.json").write_text(json.dumps(spec))
    (folder / "config.yaml").write_text("backbone: point_transformer\nseed: 0\n")
    provenance = {"commit": {"id": "abc1234", "dirty": False}, "device": "cpu", "ops_backend": "native"}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    lines = [json.dumps({"step": s, "loss": 2.0 / (1 + 0.1 * s), "seconds_per_step": 0.1}) for s in range(steps)]
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")
    for name, arrays in (pictures or {}).items():
        np.savez_compressed(folder / f"{name}.npz", allow_pickle=False, **arrays)
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps({"metrics": metrics}))
