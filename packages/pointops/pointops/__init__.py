"""Point-cloud operations on packed batches, under the names of the field.

Packed means: the points of B scenes laid end to end as ``xyz`` (N, 3) float32, with ``offset`` (B,) the cumulative
end of each scene. Index results are int32 rows of the whole batch.
"""

from __future__ import annotations

from pointops._foreign import warn_of_others
from pointops._native import backend
from pointops.aggregation import aggregation
from pointops.attention import attention_fusion_step, attention_relation_step
from pointops.ball_query import ball_query, random_ball_query
from pointops.chamfer import chamfer_distance, chamfer_nearest, nearest_point
from pointops.continued import continued_sampling
from pointops.gather import gather_rows, scatter_rows
from pointops.grouping import (
    ball_query_and_group,
    grouping,
    grouping2,
    knn_query_and_group,
    query_and_group,
)
from pointops.index import Index
from pointops.interpolation import (
    interpolate,
    interpolation,
    interpolation2,
    interpolation_table,
    interpolation_weights,
    three_nn,
)
from pointops.inverse import InverseTable, inverse_table
from pointops.knn import knn_query
from pointops.kpconv import kernel_point_convolution, kpconv_neighbors
from pointops.norm import batch_norm
from pointops.offsets import (
    batch2offset,
    known_counts,
    known_ends,
    make_offset,
    moved_offset,
    offset2batch,
    offset2counts,
    scene_slices,
)
from pointops.radius import Ragged, radius_search
from pointops.sampling import farthest_point_sampling
from pointops.segment import segment_broadcast, segment_max, segment_mean, segment_softmax, segment_sum
from pointops.subtraction import subtraction
from pointops.transfer import constant, to_device
from pointops.vector_attention import neighbor_relation, softmax_aggregation
from pointops.vote import Votes, vote_scatter
from pointops.voxel import voxel_cells, voxel_grid, voxel_hash
from pointops.window_attention import window_attention
from pointops.windows import WindowPairs, window_pairs

__version__ = "0.1.0"

__all__ = [
    "Index",
    "InverseTable",
    "Ragged",
    "Votes",
    "WindowPairs",
    "aggregation",
    "attention_fusion_step",
    "attention_relation_step",
    "backend",
    "ball_query",
    "ball_query_and_group",
    "batch2offset",
    "batch_norm",
    "chamfer_distance",
    "chamfer_nearest",
    "constant",
    "continued_sampling",
    "farthest_point_sampling",
    "gather_rows",
    "grouping",
    "grouping2",
    "interpolate",
    "interpolation",
    "interpolation2",
    "interpolation_table",
    "interpolation_weights",
    "inverse_table",
    "kernel_point_convolution",
    "knn_query",
    "knn_query_and_group",
    "known_counts",
    "known_ends",
    "kpconv_neighbors",
    "make_offset",
    "moved_offset",
    "nearest_point",
    "neighbor_relation",
    "offset2batch",
    "offset2counts",
    "query_and_group",
    "radius_search",
    "random_ball_query",
    "scatter_rows",
    "scene_slices",
    "segment_broadcast",
    "segment_max",
    "segment_mean",
    "segment_softmax",
    "segment_sum",
    "softmax_aggregation",
    "subtraction",
    "three_nn",
    "to_device",
    "vote_scatter",
    "voxel_cells",
    "voxel_grid",
    "voxel_hash",
    "window_attention",
    "window_pairs",
]

warn_of_others()
