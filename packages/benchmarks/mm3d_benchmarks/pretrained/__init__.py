"""What was learned, used: weights that describe themselves, features and predictions for one's own scans.

from mm3d_benchmarks import pretrained

encoder = pretrained.load("runs/8f56298edfc2")      # or "encoder.safetensors", or a released .pth
features = encoder.features("room.ply")             # (N, C) float32, row i is point i of the file
model = pretrained.load("runs/1c2d3e4f5a6b")        # a fine-tuned segmentor or detector
segment = model.segment("room.ply")                 # (N,) numbers of model.classes
boxes = model.detect("room.ply")                    # centers, sizes, headings, scores, classes
"""

from __future__ import annotations

from mm3d_benchmarks.pretrained.network import Network, load
from mm3d_benchmarks.pretrained.seeds import Boxes

__all__ = ["Boxes", "Network", "load"]
