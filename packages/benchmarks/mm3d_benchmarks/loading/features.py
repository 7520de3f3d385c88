"""What a network reads at every point, by name, and a sample as the PointBatch that carries it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from mm3d_benchmarks.loading.sample import Sample
from mm3d_core.errors import UserError
from mm3d_core.points import PointBatch

MEAN_COLOR = np.array([109.8, 97.2, 83.8], dtype=np.float32)  # votenet, scannet/scannet_detection_dataset.py
HEIGHT_PERCENTILE = 0.99  # the 0.99-th, not the 99-th: about the lowest hundredth; VoteNet's floor estimate

FEATURES: dict[str, tuple[int, str, Callable[[Any], np.ndarray]]] = {
    # name: (width, attribute of the sample that must be there, values)
    "coord": (3, "coord", lambda s: s.coord),
    "color": (3, "color", lambda s: s.color / 255),
    "color_votenet": (3, "color", lambda s: (s.color - MEAN_COLOR) / 256),  # VoteNet on ScanNet
    # VoteNet on SUN RGB-D:
    "color_centered": (3, "color", lambda s: s.color / 255 - 0.5),
    "height": (1, "height", lambda s: s.height[:, None]),
    "normal": (3, "normal", lambda s: s.normal),
}


def feature_width(inputs: Sequence[str]) -> int:
    """Channels of these inputs together.

    Raises:
        UserError: an unknown name.
    """
    unknown = [name for name in inputs if name not in FEATURES]
    if unknown:
        raise UserError(f"backbone.input names {', '.join(unknown)}: choose from {', '.join(FEATURES)}")
    return sum(FEATURES[name][0] for name in inputs)


def floor_height(coord: np.ndarray) -> np.ndarray:
    """(N,) float32 metres above the scene's ``HEIGHT_PERCENTILE`` of z."""
    return (coord[:, 2] - np.percentile(coord[:, 2], HEIGHT_PERCENTILE)).astype(np.float32)


def points_of(sample: Sample, inputs: Sequence[str]) -> PointBatch:
    """The sample as one scene; ``feat`` holds ``inputs`` in their order, the attributes ``color`` (in [0, 1]) and, as
    an input, ``normal`` ride along.

    Raises:
        UserError: the scene lacks what an input needs.
    """
    columns = [np.zeros((sample.num_points, 0), dtype=np.float32)]
    for name in inputs:
        _, needed, values = FEATURES[name]
        if getattr(sample, needed) is None:
            raise UserError(
                f"scene {sample.name} has no {needed}, which backbone.input asks for with {name!r}; "
                f"choose inputs without it or prepare the data set with it"
            )
        columns.append(values(sample))
    attributes = {} if sample.color is None else {"color": torch.from_numpy((sample.color / 255).astype(np.float32))}
    if "normal" in inputs and sample.normal is not None:
        attributes["normal"] = torch.from_numpy(np.ascontiguousarray(sample.normal, dtype=np.float32))
    return PointBatch(
        coord=torch.from_numpy(np.ascontiguousarray(sample.coord, dtype=np.float32)),
        feat=torch.from_numpy(np.concatenate(columns, axis=1, dtype=np.float32)),
        offset=torch.tensor([sample.num_points]),
        index=torch.from_numpy(np.ascontiguousarray(sample.index, dtype=np.int64)),
        attributes=attributes,
    )
