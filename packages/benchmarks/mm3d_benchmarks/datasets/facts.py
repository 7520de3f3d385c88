"""What is known about a data set independent of any file: classes, colors of the labels, published statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

IGNORE = -1  # the train id of points that no loss and no metric counts


@dataclass(frozen=True)
class DatasetFacts:
    """Facts that models, metrics and reports need.

    Attributes:
        name: as in ``dataset=<name>``.
        segment_classes: names in the order of the train ids (empty: no segmentation task).
        segment_palette: one (r, g, b) 0..255 per segment class, for pictures only.
        detection_classes: names in the order of the box classes (empty: no detection task).
        mean_sizes: published mean full size (l, w, h) in metres per detection class.
        num_heading_bins: bins of VoteNet's heading classification (1: boxes are axis-aligned).
        published_shares: published share of each segment class in percent, for comparison.
        published_boxes: published number of boxes per scene of each detection class, for comparison.
    """

    name: str
    segment_classes: tuple[str, ...] = ()
    segment_palette: tuple[tuple[int, int, int], ...] = ()
    detection_classes: tuple[str, ...] = ()
    mean_sizes: tuple[tuple[float, float, float], ...] = ()
    num_heading_bins: int = 1
    published_shares: Mapping[str, float] = field(default_factory=dict)
    published_boxes: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.segment_palette and len(self.segment_palette) != len(self.segment_classes):
            raise ValueError("segment_palette needs one color per segment class")
        if len(self.mean_sizes) != len(self.detection_classes):
            raise ValueError("mean_sizes needs one size per detection class")

    @property
    def num_segment_classes(self) -> int:
        """Number of segmentation classes."""
        return len(self.segment_classes)

    @property
    def num_detection_classes(self) -> int:
        """Number of detection classes."""
        return len(self.detection_classes)
