"""One SUN RGB-D frame: its depth decoded, its points, and where they lie in the image.

Source: the SUNRGBDtoolbox (readData/read3dPoints.m and the annotation code), confirmed on real frames: pixels count
from 1, and with that the colors of a public extraction agree with the image exactly.

    camera  x right, y down, z forward        upright  x right, y forward, z up, origin at the camera
    upright point = Rtilt (X, z, -Y)          Rtilt = C E C^T with E the 3x3 of extrinsics/*.txt
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mm3d_benchmarks.datasets.readers.base import BrokenSceneError

MAX_DEPTH = 8.0  # metres; the toolbox sets larger values to it
AXIS_SWAP = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])  # C: camera to depth frame
MOST_PIXELS = 2**22  # of an image; the release's largest have half a million


def decode_depth(raw: np.ndarray) -> np.ndarray:
    """Metres (float32) of the released 16-bit depth: millimetres, rotated left by three bits; 0 = no return."""
    raw = raw.astype(np.uint16)
    return ((raw >> 3) | (raw << 13)).astype(np.float32) / np.float32(1000)


def encode_depth(metres: np.ndarray) -> np.ndarray:
    """The inverse of :func:`decode_depth`, for whole millimetres below 65.536 m."""
    millimetres = np.round(np.asarray(metres, np.float64) * 1000).astype(np.uint16)
    return ((millimetres << 3) | (millimetres >> 13)).astype(np.uint16)


def points_of_frame(
    depth: np.ndarray, image: np.ndarray, k: np.ndarray, rtilt: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Upright points and colors of all pixels with a return, column by column as in the toolbox.

    Args:
        depth: (H, W) metres, 0 = no return.
        image: (H, W, 3) uint8.
        k: (3, 3) intrinsics.
        rtilt: (3, 3) gravity rotation.

    Returns:
        coord: (N, 3) float32 metres.
        color: (N, 3) uint8.
    """
    columns, rows = np.nonzero(depth.T > 0)
    z = np.minimum(depth[rows, columns].astype(np.float64), MAX_DEPTH)
    x = (columns + 1 - k[0, 2]) * z / k[0, 0]
    y = (rows + 1 - k[1, 2]) * z / k[1, 1]
    return (np.stack([x, z, -y], axis=1) @ rtilt.T).astype(np.float32), image[rows, columns]


def project(coord: np.ndarray, k: np.ndarray, rtilt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel positions (u, v), counted from 1, of upright points (N, 3), and their depth (N,)."""
    tilted = coord @ rtilt  # rows times Rtilt = Rtilt^T times columns
    x, z, y = tilted[:, 0], tilted[:, 1], -tilted[:, 2]
    return np.stack([k[0, 0] * x / z + k[0, 2], k[1, 1] * y / z + k[1, 2]], axis=1), z


def read_depth(path: Path) -> np.ndarray:
    """(H, W) float32 metres of a depth PNG."""
    values = _image(path)
    if values.ndim != 2 or values.dtype.kind not in "iu" or values.dtype.itemsize < 2:
        raise BrokenSceneError(f"{path}: not a 16-bit grey PNG; unpack the frame again")
    return decode_depth(values)


def read_color(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 of a color image."""
    return _image(path, "RGB")


def _image(path: Path, mode: str | None = None) -> np.ndarray:
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:  # other formats can start programs
            if math.prod(image.size) > MOST_PIXELS:
                raise ValueError(f"{image.size[0]} x {image.size[1]} pixels")
            return np.asarray(image.convert(mode) if mode else image)
    except FileNotFoundError as error:
        raise BrokenSceneError(f"{path}: not found; unpack the release again") from error
    except UnidentifiedImageError as error:
        raise BrokenSceneError(f"{path}: neither PNG nor JPEG; unpack the release again") from error
    except Exception as error:  # Pillow raises anything from struct.error to DecompressionBombError on damaged bytes
        raise BrokenSceneError(f"{path}: damaged image ({error}); unpack the release again") from error
