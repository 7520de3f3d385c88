"""A sample as the PointBatch that carries what a network reads at every point (``mm3d_core.features``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mm3d_benchmarks.loading.sample import Sample
from mm3d_core.errors import UserError
from mm3d_core.features import FEATURES
from mm3d_core.points import PointBatch

HEIGHT_PERCENTILE = 0.99  # the 0.99-th, not the 99-th: about the lowest hundredth; VoteNet's floor estimate


def feature_width(inputs: Sequence[str]) -> int:
    """Channels of these inputs together.

    Raises:
        UserError: an unknown name.
    """
    unknown = [name for name in inputs if name not in FEATURES]
    if unknown:
        raise UserError(f"backbone.input names {', '.join(unknown)}: choose from {', '.join(FEATURES)}")
    return sum(FEATURES[name].width for name in inputs)


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
        feature = FEATURES[name]
        if getattr(sample, feature.needs) is None:
            raise UserError(
                f"scene {sample.name} has no {feature.needs}, which backbone.input asks for with {name!r}; "
                f"choose inputs without it or prepare the data set with it"
            )
        columns.append(feature.values(sample))
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
