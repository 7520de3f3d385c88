"""How hard synthetic scans are for a classifier that sees only a point's surroundings, and what context adds to it.

    python -m tools.calibration.probe [--seed 0]

Boosted trees look at single points of the ``default`` profile's scans: shape of the surroundings at three scales,
height, what stands above and below, color. A second stage also sees which classes the first one found around the
point and in the whole room. The scans are difficult enough if the first stage is far from perfect with all training
scans and poor with few, and right if the second stage gains. Needs scikit-learn, which the ``dev`` extra brings.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from mm3d_benchmarks.datasets.readers.scannet import CLASSES
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.synthetic.rooms.floor_plan import PROFILES, place_kinds, scan_names
from mm3d_benchmarks.synthetic.rooms.knobs import Knobs
from tools.calibration.acceptance import scan

POINTS = 900  # per scan
SCALES = ((0.10, 1), (0.25, 2), (0.60, 8))  # metres, and how many vertices share one that is looked at
COLUMN = 0.15  # metres around the vertical through a point
AROUND = (0.5, 1.5)  # metres within which the second stage sees what the first one found
FEW = 16  # scans of a small training set
DRAWS = 4  # small training sets; single ones of the default profile reach 0.25 to 0.32

# Accepted: lowest and highest mIoU of the first stage with all scans, highest with few, least gain of the second stage.
LOCAL = (0.35, 0.50)
LOCAL_FEW = 0.30
GAIN = 0.03


@dataclass(frozen=True)
class Looked:
    """Some labelled points of one scan.

    Attributes:
        coord: (P, 3) metres.
        features: (P, F) what a point's surroundings look like.
        label: (P,) class.
    """

    coord: np.ndarray
    features: np.ndarray
    label: np.ndarray


@dataclass(frozen=True)
class Difficulty:
    """mIoU over ScanNet's 20 classes on the validation scans.

    Attributes:
        few: first stage, trained on few scans: mean over some draws of them.
        local: first stage, trained on all scans.
        context: second stage.
        scans: (train, val).
    """

    few: float
    local: float
    context: float
    scans: tuple[int, int]

    def misses(self) -> list[str]:
        """Which gates are not met, one sentence each."""
        gates = [
            (
                LOCAL[0] <= self.local <= LOCAL[1],
                f"local features reach {self.local:.3f}, not {LOCAL[0]} to {LOCAL[1]}",
            ),
            (self.few <= LOCAL_FEW, f"{FEW} scans reach {self.few:.3f}, more than {LOCAL_FEW}"),
            (self.context - self.local >= GAIN, f"context adds {self.context - self.local:.3f}, less than {GAIN}"),
        ]
        return [text for met, text in gates if not met]


def look_at_default_profile(seed: int = 0, knobs: Knobs | None = None) -> tuple[list[Looked], list[Looked]]:
    """Points of the training and of the validation scans of the ``default`` profile."""
    profile = PROFILES["default"]
    kinds = place_kinds(profile, seed)
    splits = scan_names(profile, seed)
    return tuple(  # type: ignore[return-value]
        [
            look_at(scan(kinds[place], place, seed, profile.scannet_spacing, knobs, visit), place * 2 + visit)
            for _, place, visit in splits[split]
        ]
        for split in ("train", "val")
    )


def look_at(scene: Scene, seed: int) -> Looked:
    """Choose labelled points of a scan and describe their surroundings."""
    assert scene.segment is not None
    assert scene.color is not None
    random = np.random.default_rng([seed, 21])
    labelled = np.flatnonzero(scene.segment >= 0)
    rows = np.sort(random.choice(labelled, min(POINTS, len(labelled)), replace=False))
    coord, color = scene.coord.astype(np.float64), scene.color / 255.0
    columns = [coord[rows, 2:], color[rows], _column(coord, rows)]
    for radius, share in SCALES:
        support = random.permutation(len(coord))[: len(coord) // share]
        columns.append(_surroundings(coord[support], color[support], coord[rows], radius))
    return Looked(coord[rows], np.hstack(columns).astype(np.float32), scene.segment[rows].astype(np.int64))


def measure_difficulty(train: Sequence[Looked], val: Sequence[Looked], seed: int = 0) -> Difficulty:
    """Train both stages and score them on the validation scans.

    The second stage learns from predictions on scans that the model which made them has not seen: each half of the
    training scans is predicted by a model of the other half.
    """
    order = np.random.default_rng([seed, 22]).permutation(len(train))
    draws = [np.random.default_rng([seed + draw, 22]).permutation(len(train))[:FEW] for draw in range(DRAWS)]
    few = [_fit([train[i].features for i in rows], [train[i].label for i in rows]) for rows in draws]
    local = _fit([s.features for s in train], [s.label for s in train])
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    models = [_fit([train[i].features for i in half], [train[i].label for i in half]) for half in halves]
    mixed: dict[int, np.ndarray] = {}
    for half, model in zip(halves, reversed(models), strict=True):
        mixed |= {int(i): _with_context(train[i], _chances(model, train[i].features)) for i in half}
    context = _fit([mixed[i] for i in range(len(train))], [s.label for s in train])
    seen = [_with_context(s, np.mean([_chances(m, s.features) for m in models], axis=0)) for s in val]
    label = np.concatenate([s.label for s in val])
    plain = np.concatenate([s.features for s in val])
    return Difficulty(
        few=float(np.mean([mean_iou(model.predict(plain), label) for model in few])),
        local=mean_iou(local.predict(plain), label),
        context=mean_iou(context.predict(np.concatenate(seen)), label),
        scans=(len(train), len(val)),
    )


def mean_iou(predicted: np.ndarray, label: np.ndarray) -> float:
    """Mean intersection over union of the classes that occur in ``label``."""
    classes = len(CLASSES)
    confusion = np.bincount(label * classes + predicted, minlength=classes**2).reshape(classes, classes)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - np.diag(confusion)
    occurs = confusion.sum(axis=1) > 0
    return float((np.diag(confusion)[occurs] / union[occurs]).mean())


def _fit(features: Sequence[np.ndarray], labels: Sequence[np.ndarray]):
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.15, min_samples_leaf=30, l2_regularization=1.0,
        early_stopping=False,  # type: ignore[arg-type]
        random_state=0,
    )  # fmt: skip
    return model.fit(np.concatenate(features), np.concatenate(labels))


def _chances(model, features: np.ndarray) -> np.ndarray:
    """(P, 20) class probabilities; classes that the model never saw have none."""
    full = np.zeros((len(features), len(CLASSES)), np.float32)
    full[:, model.classes_] = model.predict_proba(features)
    return full


def _with_context(looked: Looked, chances: np.ndarray) -> np.ndarray:
    """Local features, the point's own class probabilities, and their means around the point and in the room."""
    tree = KDTree(looked.coord)
    means = [np.broadcast_to(chances.mean(axis=0), chances.shape)]
    for radius in AROUND:
        pairs = tree.sparse_distance_matrix(tree, radius, output_type="coo_matrix").tocsr()
        pairs.data[:] = 1
        pairs.setdiag(1)
        means.append(np.asarray(pairs @ chances) / np.asarray(pairs.sum(axis=1)))
    return np.hstack([looked.features, chances, *means]).astype(np.float32)


def _column(coord: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(P, 3) lowest and highest vertex around the vertical through each point, and how many there are."""
    found = KDTree(coord[:, :2]).query_ball_point(coord[rows, :2], COLUMN)
    height = [coord[near, 2] for near in found]
    return np.array([[h.min(), h.max(), len(h)] for h in height])


def _surroundings(support: np.ndarray, color: np.ndarray, at: np.ndarray, radius: float) -> np.ndarray:
    """(P, 12) eigenvalue features of the vertices in a ball, slope, relative height, density and color."""
    found = list(_balls(support, at, radius))
    features = np.zeros((len(at), 12))
    for row, near in enumerate(found):
        features[row, 8] = len(near)
        if len(near) < 4:
            continue
        around = support[near]
        values, vectors = np.linalg.eigh(np.cov(around.T))
        low, middle, high = np.sqrt(values.clip(0))
        z = around[:, 2] - at[row, 2]
        features[row, :8] = (
            (high - middle) / max(high, 1e-6), (middle - low) / max(high, 1e-6), low / max(high, 1e-6), low,
            abs(vectors[2, 0]), z.mean(), z.min(), z.max(),
        )  # fmt: skip
        features[row, 9:] = color[near].mean(axis=0)
    return features


def _balls(support: np.ndarray, at: np.ndarray, radius: float) -> Iterator[list[int]]:
    yield from KDTree(support).query_ball_point(at, radius)


def main() -> None:
    """Print the figures as JSON, and the gates that are not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    train, val = look_at_default_profile(options.seed)
    looked = time.perf_counter()
    difficulty = measure_difficulty(train, val)
    figures = {**vars(difficulty), "seconds": [round(looked - start), round(time.perf_counter() - looked)]}
    print(json.dumps({**figures, "misses": difficulty.misses()}, indent=1))


if __name__ == "__main__":
    main()
