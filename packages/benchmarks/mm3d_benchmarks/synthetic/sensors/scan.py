"""What a synthetic sensor hands to the writers of raw files: labelled points, independent of any format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelledScan:
    """Points of one scan, in the sensor's frame.

    Attributes:
        coord: (N, 3) float32 metres, z up.
        color: (N, 3) uint8.
        patch: (N,) int64 number of the surface patch of each point (over-segmentation).
        owner: (N,) int64 row of ``labels``, -1 = nobody annotated this point.
        labels: raw label of each object.
        faces: (F, 3) int32 triangles, possibly none.
        alignment: (4, 4) float64, from the sensor's frame to the axis-aligned one.
        scene_type: ScanNet's word for the kind of room.
    """

    coord: np.ndarray
    color: np.ndarray
    patch: np.ndarray
    owner: np.ndarray
    labels: list[str]
    faces: np.ndarray
    alignment: np.ndarray
    scene_type: str
